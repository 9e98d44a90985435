"""Commands on the books: statement, close, correct."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nightrate.cli.download import save
from nightrate.cli.failure import wrong_use
from nightrate.cli.proof import prove
from nightrate.cli.service import Service, segment
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import AllNodes, AsJson, Config, Key, Surroundings, Url, WorkspaceId, nodes_of
from nightrate.cli.work import connect

_LINE_COLUMNS = [
    ("API key", "api_key_id"),
    ("Model", "model"),
    ("SKU", "sku"),
    ("Tier", "tier"),
    ("Mode", "mode"),
    (">Requests", "requests"),
    (">Tokens", "quantity"),
    (">Per million", "unit_price"),
    (">List", "list_amount"),
    (">Discount", "discount_amount"),
    (">Amount", "amount"),
]


def statement(
    month: Annotated[str | None, typer.Argument(metavar="PERIOD", help="YYYY-MM [the running month]")] = None,
    period: Annotated[str | None, typer.Option("--period", metavar="YYYY-MM", help="The same")] = None,
    by_api_key: Annotated[bool, typer.Option("--by-api-key", help="Lines by API key")] = False,
    html: Annotated[bool, typer.Option("--html", help="A page that prints well, on standard output")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Whether a closed month still follows from the ledger (admin key)"),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Verifies the exports in this folder instead, without any service"),
    ] = None,
    workspace: WorkspaceId = None,
    all_nodes: AllNodes = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Shows a month's statements, one per workspace and currency; a draft until the month is closed."""
    if month and period and month != period:
        raise wrong_use(f"two periods were given: {month} and {period}")
    if verify or folder:
        return prove(Surroundings(os.environ, config, url, key), month or period, folder, as_json)
    service = connect(config, url, key)
    wanted = month or period or service.get("/v1/billing/periods", limit=1)["data"][0]["period"]
    asked = {
        "period": wanted,
        "workspace_id": workspace,
        "group_by": "api_key" if by_api_key else None,
        "nodes": nodes_of(all_nodes),
    }
    if html:
        return _page(service, asked)
    found = service.get("/v1/billing/statements", limit=10_000, **asked)
    screen = Screen()
    if as_json:
        return screen.json(found["data"])
    if not found["data"]:
        return screen.say(f"Nothing was delivered in {wanted}.")
    for one in found["data"]:
        _show(screen, one, by_api_key)
    return None


def _page(service: Service, asked: dict[str, str | None]) -> None:
    with service.download("/v1/billing/statements", format="html", limit=10_000, **asked) as answer:
        save(Screen(), answer.pieces(), answer.size, None, "Downloading")


def _show(screen: Screen, one: dict[str, Any], by_api_key: bool) -> None:
    name = one["number"] or "Draft"
    print(f"{name} · {one['period']} · {one['issuer']} to {one['customer']} ({one['workspace_id']})")
    columns = _LINE_COLUMNS if by_api_key else _LINE_COLUMNS[1:]
    screen.rows(columns, one["lines"], empty="No charges.")
    for label, value in (
        ("Exact amount", one["exact_amount"]),
        ("Rounding", one["rounding"]),
        ("Payable", f"{one['payable']} {one['currency']}"),
        ("Unmetered requests", one["unmetered_requests"]),
        ("Free requests", one["free_requests"]),
        ("SHA-256", one["sha256"]),
    ):
        if value is not None:
            print(f"{label + ':':<20}{value}")
    print()


def close(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="A past month, YYYY-MM")],
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Closes a past month of all workspaces for good: its statements get numbers and can't change any more."""
    closed = connect(config, url, key).post(f"/v1/billing/periods/{segment(period)}/close")
    screen = Screen()
    if as_json:
        return screen.json(closed)
    columns = [("Number", "number"), ("Workspace", "workspace_id"), ("", "currency"), ("SHA-256", "sha256")]
    screen.rows(columns, closed["statements"], empty="There was nothing to state.")
    return screen.say(f"{closed['period']} is closed.")


def correct(
    charge_id: Annotated[str, typer.Argument(metavar="CHARGE_ID", help="The charge, chg_…")],
    reason: Annotated[str, typer.Option("--reason", help="What was wrong; it stands in the ledger")],
    quantity: Annotated[
        int | None, typer.Option("--quantity", help="Tokens of a replacement [as before]")
    ] = None,
    list_unit_price: Annotated[
        str | None, typer.Option("--list-unit-price", help="Its list price per million tokens [as before]")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Reverses a charge in full and, with a quantity or a price, enters a replacement."""
    body: dict[str, Any] = {"charge_id": charge_id, "reason": reason}
    given = {"quantity": quantity, "list_unit_price": list_unit_price}
    if any(value is not None for value in given.values()):
        body["replacement"] = {name: value for name, value in given.items() if value is not None}
    made = connect(config, url, key).post("/v1/billing/corrections", body)
    screen = Screen()
    if as_json:
        return screen.json(made)
    columns = [
        ("Charge", "charge_id"),
        ("SKU", "sku"),
        ("Period", "period"),
        (">Requests", "requests"),
        (">Tokens", "quantity"),
        (">List price", "list_unit_price"),
        (">Amount", "amount"),
        ("", "currency"),
    ]
    entries = [entry for entry in (made["reversal"], made["replacement"]) if entry is not None]
    return screen.rows(columns, entries, empty="")
