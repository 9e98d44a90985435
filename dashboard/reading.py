"""What the pages read: the services' answers for a viewer and an address. Each call hands on the viewer's Access."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dashboard.filters import PeriodView
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.access import Access

MOST_WORKSPACES = 1000
Json = Mapping[str, Any]


def workspaces_of(services: ConsoleServices, access: Access) -> Sequence[Any]:
    """The workspaces that a caller may see, the oldest first."""
    if access.workspace_id is not None:
        return [services.workspaces.get(access.workspace_id)]
    return services.workspaces.list(limit=MOST_WORKSPACES).data


def workspace_names(services: ConsoleServices, access: Access) -> dict[str, str]:
    """Names by id."""
    return {w.id: w.name for w in workspaces_of(services, access)}


def usable_models(services: ConsoleServices, access: Access) -> list[str]:
    """The models that a caller may use."""
    if access.workspace_id is None:
        return services.catalog.allowed(None)
    return services.catalog.allowed(services.workspaces.get(access.workspace_id).allowed_models)


@dataclass(frozen=True, slots=True)
class Period:
    """A period in the form that the services take."""

    start: str
    end: str
    timezone: str

    @classmethod
    def of(cls, viewer: Viewer, view: PeriodView) -> "Period":
        """Reads a view's two ends at the viewer's moment."""
        zone = viewer.zone(view.zone)
        start, end = view.bounds(viewer.now, zone)
        return cls(start.isoformat(), end.isoformat(), zone.key)


def statistics(
    services: ConsoleServices,
    viewer: Viewer,
    view: PeriodView,
    model: str | None = None,
    *,
    merged: bool = False,
) -> Json:
    """SPEC §6.1 for a view; `merged` gives one row a model."""
    period = Period.of(viewer, view)
    asked: dict[str, Any] = {
        "start": period.start,
        "end": period.end,
        "timezone": period.timezone,
        "model": model or view.model,
        "workspace_id": view.workspace,
        "merged": merged,
    }
    return once(services, viewer, "models", asked, lambda: services.statistics.models(viewer.access, **asked))


def trend(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> Json:
    """SPEC §6.2 for a view: the points of its model."""
    asked = {**_of_model(viewer, view), "interval": view.precision}
    return once(services, viewer, "trend", asked, lambda: services.statistics.trend(viewer.access, **asked))


def failures(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> Json:
    """The failures of a view's model by status and code."""
    return services.statistics.errors(viewer.access, **_of_model(viewer, view))


def _of_model(viewer: Viewer, view: PeriodView) -> dict[str, Any]:
    period = Period.of(viewer, view)
    assert view.model is not None
    return {
        "model": view.model,
        "start": period.start,
        "end": period.end,
        "timezone": period.timezone,
        "workspace_id": view.workspace,
    }


def once(
    services: ConsoleServices, viewer: Viewer, name: str, asked: dict[str, Any], read: Callable[[], Json]
) -> Json:
    """Several sections of a page are drawn of the same answer; it is asked for once."""
    if not viewer.version:
        return read()
    return services.recall.once((name, viewer.version, viewer.access, *asked.values()), read)


def at(text: str | None) -> datetime | None:
    """The moment of an ISO text of the services."""
    return datetime.fromisoformat(text) if text else None


def money_of(rows: Sequence[Json], field: str) -> list[tuple[str | None, Decimal]]:
    """An amount by currency, of rows that carry both."""
    return [(r["currency"], Decimal(str(r[field]))) for r in rows if r.get("currency")]
