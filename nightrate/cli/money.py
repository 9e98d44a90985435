"""Commands on money and figures: export, statistics."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nightrate.cli.download import save, save_beside
from nightrate.cli.failure import CliFailure
from nightrate.cli.service import NotReachable, Service
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import AllNodes, AsJson, Config, Key, Surroundings, Url, WorkspaceId, nodes_of
from nightrate.cli.work import connect

Kind = Literal["charges", "usage", "statement", "events", "focus", "ledger"]
Format = Literal["csv", "xlsx", "parquet", "jsonl", "json", "beancount"]
Profile = Literal["machine", "spreadsheet"]
_TRIES = 3
Start = Annotated[str | None, typer.Option("--start", help="ISO 8601 with zone, or Unix seconds; inclusive")]
End = Annotated[str | None, typer.Option("--end", help="The same; inclusive")]
ModelName = Annotated[str | None, typer.Option("--model", help="Only this model")]


def export(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="charges, usage, statement, events, focus or ledger")
    ],
    period: Annotated[
        str | None, typer.Option("--period", metavar="YYYY-MM", help="[the running month]")
    ] = None,
    start: Start = None,
    end: End = None,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="[csv; beancount for ledger]")
    ] = None,
    profile: Annotated[
        Profile | None, typer.Option("--profile", help="csv for machines or for spreadsheets [machine]")
    ] = None,
    workspace: WorkspaceId = None,
    all_nodes: AllNodes = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write, - for standard output")
    ] = None,
    manifest: Annotated[
        bool,
        typer.Option(
            help="Write FILE.manifest.json too: rows, tokens, amounts, SHA-256, price ids [yes, unless to standard output]"
        ),
    ] = True,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Writes a file for finance: the ledger (charges), sums, statements and more; also from a stopped service's data."""
    around, screen = Surroundings(os.environ, config, url, key), Screen()
    month = period or (None if start or end else _running_month(around))
    suffix = file_format or ("beancount" if kind == "ledger" else "csv")
    asked = {"period": month, "start": start, "end": end, "format": suffix, "workspace_id": workspace}
    asked |= {"nodes": nodes_of(all_nodes)}
    asked |= {"profile": profile} if profile else {}
    name = f"{'all-nodes-' if all_nodes else ''}{kind}"
    target = out or Path(f"{name}-{month or 'range'}.{suffix}")
    described = manifest and str(target) != "-"
    try:
        made = _export_running(
            Service(around.service_url, around.any_key), screen, kind, asked, target, described=described
        )
    except NotReachable:
        if around.names_a_service:
            raise
        from nightrate.cli.stopped import (
            export_stopped,  # the database's libraries, which no other path needs
        )

        made = export_stopped(around.settings, screen, kind, asked, target)
    if described:
        save_beside(target, ".manifest.json", made)
    if str(target) != "-":
        screen.say(f"{target}: {made['rows']} rows, SHA-256 {made['sha256']}")


def _running_month(around: Surroundings) -> str:
    """The month in the billing zone, or in UTC where there are no settings to say it."""
    zone = UTC if around.names_a_service else around.settings.billing.zone
    return datetime.now(zone).strftime("%Y-%m")


def _export_running(
    service: Service,
    screen: Screen,
    kind: str,
    asked: Mapping[str, str | None],
    target: Path,
    *,
    described: bool,
) -> Mapping[str, Any]:
    """Rows and SHA-256 of the file, in its manifest if that is wanted; both again if the ledger grew between them."""
    path = f"/v1/billing/exports/{kind}"
    for _ in range(_TRIES):
        with service.download(path, **asked) as answer:
            save(screen, answer.pieces(), answer.size, target, "Exporting")
            made = {name: answer.header(f"x-nightrate-{name}") for name in ("rows", "sha256")}
        if not described:
            return made
        manifest: dict[str, Any] = service.get(f"{path}/manifest", **asked)
        if manifest["sha256"] == made["sha256"]:
            return manifest
    raise CliFailure(
        f"{target} has no manifest: the ledger grew each time between the file and its manifest",
        hint="Export a month that has ended, or add --no-manifest.",
    )


def statistics(
    start: Start = None,
    end: End = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="IANA name [UTC]")] = None,
    model: ModelName = None,
    workspace: WorkspaceId = None,
    all_nodes: AllNodes = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Shows calls, tokens, durations and cost per model, of tasks that ended in the range."""
    screen = Screen()
    asked = {"start": start, "end": end, "timezone": timezone, "model": model, "workspace_id": workspace}
    found = connect(config, url, key).get("/v1/statistics", nodes=nodes_of(all_nodes), **asked)
    if as_json:
        return screen.json(found)
    columns = [
        ("Model", "model"),
        ("Workspace", "workspace_id"),
        (">Calls", "calls"),
        (">Failed", "failed"),
        (">Tokens", "total_tokens"),
        (">Average ms", "avg_duration_ms"),
        (">p95 ms", "p95_duration_ms"),
        (">List", "list_amount"),
        (">Amount", "amount"),
        ("", "currency"),
    ]
    rows = [{**row, **_rounded(row)} for row in found["data"]]
    screen.rows(columns, rows, empty="No task ended in this range.")
    return screen.say(f"{found['start']} to {found['end']}")


def _rounded(row: dict[str, Any]) -> dict[str, str | None]:
    names = ("avg_duration_ms", "p95_duration_ms")
    return {name: None if row[name] is None else f"{float(row[name]):,.0f}" for name in names}
