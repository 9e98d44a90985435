"""Commands on money and figures: export, prices, statistics."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nightrate.cli.download import save
from nightrate.cli.failure import CliFailure
from nightrate.cli.service import NotReachable, Service
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import AsJson, Config, Key, Surroundings, Url, WorkspaceId
from nightrate.cli.work import connect
from nightrate.models import configured_models

Kind = Literal["charges", "usage", "statement", "events", "focus", "ledger"]
Format = Literal["csv", "xlsx", "parquet", "jsonl", "json", "beancount"]
Profile = Literal["machine", "spreadsheet"]
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
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write, - for standard output")
    ] = None,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Writes a file for finance: the ledger (charges), sums, statements and more; also from a stopped service's data."""
    around, screen = Surroundings(os.environ, config, url, key), Screen()
    month = period or (None if start or end else _running_month(around))
    suffix = file_format or ("beancount" if kind == "ledger" else "csv")
    asked = {"period": month, "start": start, "end": end, "format": suffix, "workspace_id": workspace}
    asked |= {"profile": profile} if profile else {}
    target = out or Path(f"{kind}-{month or 'range'}.{suffix}")
    rows: int | str
    try:
        rows, sha256 = _export_running(
            Service(around.service_url, around.api_key), screen, kind, asked, target
        )
    except NotReachable:
        if around.names_a_service:
            raise
        from nightrate.cli.stopped import (
            export_stopped,  # the database's libraries, which no other path needs
        )

        rows, sha256 = export_stopped(around.settings, screen, kind, asked, target)
    if str(target) != "-":
        screen.say(f"{target}: {rows} rows, SHA-256 {sha256}")


def _service(around: Surroundings) -> Service:
    """The running service; without any key, since a stopped one's data needs none, a running one then refuses."""
    try:
        key = around.api_key
    except CliFailure:
        key = ""
    return Service(around.service_url, key)


def _running_month(around: Surroundings) -> str:
    """The month in the billing zone, or in UTC where there are no settings to say it."""
    zone = UTC if around.names_a_service else around.settings.billing.zone
    return datetime.now(zone).strftime("%Y-%m")


def _export_running(
    service: Service, screen: Screen, kind: str, asked: Mapping[str, str | None], target: Path
) -> tuple[int | str, str]:
    with service.download(f"/v1/billing/exports/{kind}", **asked) as answer:
        save(screen, answer.pieces(), answer.size, target, "Exporting")
        return answer.header("x-nightrate-rows"), answer.header("x-nightrate-sha256")


def prices(
    ctx: typer.Context, as_json: AsJson = False, config: Config = None, url: Url = None, key: Key = None
) -> None:
    """Lists the price book in force and its history."""
    if ctx.invoked_subcommand:
        return None
    screen = Screen()
    book = connect(config, url, key).all_pages("/v1/billing/prices", most=100_000)
    if as_json:
        return screen.json(book)
    columns = [
        ("Model", "model"),
        ("Currency", "currency"),
        ("Valid from", "valid_from"),
        ("", "status"),
        ("Tier", "tier"),
        (">Input", "input"),
        (">Output", "output"),
        (">Thinking", "output_thinking"),
    ]
    rows = [_tier_row(price, tier) for price in book for tier in price["tiers"]]
    screen.rows(columns, rows, empty="The price book is empty.")
    return screen.say("Real-time list prices per million tokens; a batch costs half.")


def _tier_row(price: dict[str, Any], tier: dict[str, Any]) -> dict[str, Any]:
    bound = tier.get("up_to_input_tokens")
    return {**price, **tier, "tier": "all" if bound is None else f"≤ {int(bound):,}"}


def prices_check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A price book [billing.prices of the settings]")
    ] = None,
    config: Config = None,
) -> None:
    """Reads a price book as the service would at start, and says what is wrong with it."""
    from metering.prices import PriceBook, PriceBookError  # brings the database's libraries with it

    around = Surroundings(os.environ, config)
    path = file or around.settings.billing.prices
    try:
        book = PriceBook.load(path, around.settings.billing.currency if file is None else None)
        if file is None:
            book.check_models([(model.name, model.free) for model in configured_models(around.settings)])
    except PriceBookError as error:
        raise CliFailure(str(error)) from error
    Screen().say(f"{path}: nothing wrong.")


def statistics(
    start: Start = None,
    end: End = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="IANA name [UTC]")] = None,
    model: ModelName = None,
    workspace: WorkspaceId = None,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Shows calls, tokens, durations and cost per model, of tasks that ended in the range."""
    screen = Screen()
    asked = {"start": start, "end": end, "timezone": timezone, "model": model, "workspace_id": workspace}
    found = connect(config, url, key).get("/v1/statistics", **asked)
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
