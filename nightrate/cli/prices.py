"""The command `prices`: the price book in force, and what another one would change."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nightrate.cli.failure import FAILED, CliFailure
from nightrate.cli.service import NotReachable, Service
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import AsJson, Config, Key, Surroundings, Url
from nightrate.cli.work import connect

_CHECKED = [
    ("Model", "model"),
    ("", "currency"),
    (">Requests", "requests"),
    (">Tokens", "tokens"),
    (">Charged", "amount"),
    (">As dated", "dated"),
    (">Difference", "dated_difference"),
    (">At the last price", "last"),
    (">Difference", "last_difference"),
    ("From", "valid_from"),
]


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
    period: Annotated[
        str | None, typer.Option("--period", metavar="YYYY-MM", help="Held against this month [the last one]")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Says what is wrong with a price book, and what it would do to a month of the ledger; changes nothing."""
    from metering.price_file import PriceBookError, price_text, read_price_text

    around, screen = Surroundings(os.environ, config, url, key), Screen()
    path = file or around.settings.billing.prices
    try:
        text = price_text(path)
        read_price_text(str(path), text)
    except PriceBookError as error:
        raise CliFailure(str(error)) from error
    asked = {"path": str(path), "text": text, "period": period}
    try:
        report = _report(around, asked)
    except NotReachable as error:
        screen.say(f"{path}: nothing wrong in the file itself.")
        return screen.say(f"It was held against no ledger: {error.message}.")
    if as_json:
        screen.json(report)
    else:
        _show(screen, report)
    if not report["acceptable"]:
        raise typer.Exit(FAILED)
    return None


def _report(around: Surroundings, asked: Mapping[str, str | None]) -> dict[str, Any]:
    """The running service's answer, else that of a stopped one's data; `NotReachable` if there is neither."""
    try:
        report: dict[str, Any] = Service(around.service_url, around.any_key).post(
            "/v1/billing/prices/check", asked
        )
    except NotReachable:
        if around.names_a_service or not around.settings.storage.database_path.is_file():
            raise
        from nightrate.cli.stopped import check_prices_stopped  # the database's libraries

        report = check_prices_stopped(around.settings, asked)
    return report


def _show(screen: Screen, report: Mapping[str, Any]) -> None:
    for fault in report["faults"]:
        print(fault["text"])
    if report["data"]:
        print(f"Usage of {report['period']}, at batch prices:")
    screen.rows(_CHECKED, [_shown(row) for row in report["data"]], empty=f"{report['period']}: no charges.")
    reasons = [
        f"? {row['model']} in {row['currency']}: {part['unknown']}"
        for row in report["data"]
        for part in _parts(row)
        if part["unknown"]
    ]
    for reason in dict.fromkeys(reasons):
        print(reason)
    taken = "Nothing wrong; the service would take it."
    screen.say(taken if report["acceptable"] else "The service would refuse it, for what stands above.")


def _parts(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return row["as_dated"], row["at_last_price"]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    dated, last = _parts(row)
    return {
        **row,
        "tokens": row["input_tokens"] + row["output_tokens"],
        "dated": dated["amount"] or "?",
        "dated_difference": _signed(dated["difference"]),
        "last": last["amount"] or "?",
        "last_difference": _signed(last["difference"]),
        "valid_from": last["valid_from"],
    }


def _signed(difference: str | None) -> str:
    if difference is None:
        return "?"
    return difference if difference.startswith("-") or difference == "0" else f"+{difference}"
