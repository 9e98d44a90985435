"""The pages, by their paths: what they are made of, how often they look, and what tells that something changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.filters import Address
from dashboard.pages import billing, missing, monitor, observation, settings, task, tasks
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.access import Access

Draw = Callable[[ConsoleServices, Viewer, Address], list[Any]]
Slots = Mapping[str, Any]
FAST_MS = 2000
SLOW_MS = 5000


def in_order(slots: Slots) -> list[Any]:
    """The sections one below the other."""
    return list(slots.values())


@dataclass(frozen=True, slots=True)
class View:
    """A page: a head and sections, each drawn on its own, so that what fails or is slow leaves the rest."""

    head: Draw
    sections: Mapping[str, Draw]
    """By key; a key is used by one page alone."""
    every_ms: int = 0
    """How often the page asks whether something changed; 0: never."""
    version: Callable[[ConsoleServices, Viewer, bool], str] = lambda *_: ""
    """Tells two states of what the page shows apart, at next to no cost; of now if somebody asked for it."""
    frame: Callable[[Slots], list[Any]] = in_order
    """How the sections stand on the page."""


def tasks_version(services: ConsoleServices, viewer: Viewer, _: bool) -> str:
    """Each commit, the day in which times are written, and each look while a task goes on."""
    look = int(viewer.now.timestamp() * 1000) // FAST_MS if services.busy() else ""
    return f"{services.revision()} {viewer.now.astimezone(viewer.zone()):%d} {look}"


def statistics_version(services: ConsoleServices, viewer: Viewer, _: bool) -> str:
    """Each task end, and each minute, since a period may end now."""
    return f"{services.glance.ended()} {viewer.now:%d%H%M}"


def books_version(services: ConsoleServices, viewer: Viewer, asked: bool) -> str:
    """Each commit, but for who only looks some seconds apart while tasks make many."""
    if services.busy() and not asked:
        return str(int(viewer.now.timestamp()) // 15)
    return f"at {services.revision()}"


def settings_version(services: ConsoleServices, viewer: Viewer, asked: bool) -> str:
    """As for the books, and what is known of the upstreams."""
    return f"{books_version(services, viewer, asked)} {sorted(services.upstreams_up().items())}"


TASKS = View(tasks.head, {"tasks": tasks.live}, FAST_MS, tasks_version)
TASK = View(task.head, task.SECTIONS, FAST_MS, tasks_version)
OBSERVATION = View(observation.head, observation.SECTIONS, SLOW_MS, statistics_version)
MONITOR = View(monitor.head, monitor.SECTIONS, SLOW_MS, statistics_version, monitor.frame)
BILLING = View(billing.head, billing.SECTIONS, SLOW_MS, books_version)
SETTINGS = View(settings.head, settings.SECTIONS, SLOW_MS, settings_version)
MISSING = View(missing.head, {"missing": missing.live})


def view_of(address: Address, access: Access) -> View:
    """The page of an address; a page that this caller may not see is as unknown as any other."""
    if address.path == "/settings":
        return SETTINGS if access.is_admin else MISSING
    if address.path.startswith("/tasks/"):
        return TASK
    if address.path.startswith("/monitor/"):
        return MONITOR
    return {"/": TASKS, "/observation": OBSERVATION, "/billing": BILLING}.get(address.path, MISSING)
