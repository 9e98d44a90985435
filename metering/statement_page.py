"""Statements as a page that prints well: one sheet each, nothing loaded from anywhere."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from html import escape
from typing import Any

from metering.money import EXACT, ZERO, plain

_COLUMNS = (
    ("Model", "model"),
    ("SKU", "sku"),
    ("Tier", "tier"),
    ("Mode", "mode"),
    ("Requests", "requests"),
    ("Tokens", "quantity"),
    ("List price per million", "list_unit_price"),
    ("Charged per million", "unit_price"),
    ("List amount", "list_amount"),
    ("Discount", "discount_amount"),
    ("Amount", "amount"),
)
_NUMBERS = frozenset(name for _, name in _COLUMNS[4:])
_AMOUNTS = ("list_amount", "discount_amount", "amount")
_RULE = "Only requests that succeeded are charged, at half of the real-time list price, on the day their task ended."
_STYLE = """
body { font: 11pt/1.4 system-ui, sans-serif; color: #111; background: #fff; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
section { break-after: page }
section:last-child { break-after: auto }
h1 { font-size: 1.4rem; margin-bottom: .2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.5rem }
dt { color: #555 } dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: 9pt }
thead { display: table-header-group }
tr { break-inside: avoid }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .4rem; text-align: left; vertical-align: bottom }
td:first-child { min-width: 6.5rem; overflow-wrap: anywhere }
th.n { max-width: 4.5rem }
.n { text-align: right; font-variant-numeric: tabular-nums }
td.n { white-space: nowrap }
.due, tfoot td { font-weight: bold }
tfoot { display: table-row-group }
.draft { color: #a00 }
.rule { color: #555; font-size: 9pt }
@page { margin: 12mm }
@media print {
  body { margin: 0; padding: 0; max-width: none }
  table { font-size: 7pt }
  th, td { padding: .2rem }
  td:first-child { min-width: 4.5rem }
}
@media screen and (max-width: 45rem) { section { overflow-x: auto } }
"""


def statement_page(statements: Iterable[Mapping[str, Any]]) -> str:
    """A whole HTML document of statements as `Statements.of` gives them; every text of a user is escaped."""
    listed = list(statements)
    sheets = "".join(map(_sheet, listed)) or "<p>Nothing was delivered in this month.</p>"
    # A browser takes the title for the name of the file it prints to.
    title = " ".join(["Statement", *sorted({one["period"] for one in listed})])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n{sheets}</body></html>\n"
    )


def _sheet(one: Mapping[str, Any]) -> str:
    title = (
        f"Statement {escape(one['number'])}"
        if one["number"]
        else 'Statement <span class="draft">draft</span>'
    )
    return (
        f"<section><h1>{title}</h1><dl>\n{''.join(_facts(one))}</dl>{_table(one['lines'])}"
        f'<dl>\n{"".join(_sums(one))}</dl><p class="rule">{_RULE}</p></section>\n'
    )


def _facts(one: Mapping[str, Any]) -> Iterator[str]:
    yield _pair("From", one["issuer"])
    yield _pair("To", f"{one['customer']} ({one['workspace_id']})")
    yield _pair("Month", one["period"])
    yield _pair("Currency", one["currency"])


def _sums(one: Mapping[str, Any]) -> Iterator[str]:
    yield _pair("Exact amount", one["exact_amount"])
    yield _pair("Rounding", one["rounding"])
    yield _pair("Payable", f"{one['payable']} {one['currency']}", "due")
    yield _pair("Unmetered requests, not charged", one["unmetered_requests"])
    yield _pair("Requests of free models", one["free_requests"])
    if one["sha256"]:
        yield _pair("SHA-256", one["sha256"])


def _pair(name: str, value: object, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f"<dt>{escape(name)}</dt><dd{marked}>{escape(str(value))}</dd>\n"


def _table(lines: list[Mapping[str, Any]]) -> str:
    by_key = any("api_key_id" in line for line in lines)
    columns = (("API key", "api_key_id"), *_COLUMNS) if by_key else _COLUMNS
    head = "".join(f'<th scope="col"{_kind(name)}>{label}</th>' for label, name in columns)
    rows = "".join(f"\n<tr>{''.join(_cell(line, name) for _, name in columns)}</tr>" for line in lines)
    foot = "".join(_cell(_sum_of(lines), name) for _, name in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}\n</tbody><tfoot><tr>{foot}</tr></tfoot></table>\n"


def _sum_of(lines: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The last row: what can be added up."""
    sums: dict[str, Any] = dict.fromkeys((name for _, name in _COLUMNS), None)
    sums |= {"model": "Sum", "api_key_id": None, "requests": sum(line["requests"] for line in lines)}
    for name in _AMOUNTS:
        total = ZERO
        for line in lines:
            total = EXACT.add(total, Decimal(line[name]))
        sums[name] = plain(total)
    return sums


def _cell(line: Mapping[str, Any], name: str) -> str:
    value = line[name]
    text = f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")
    return f"<td{_kind(name)}>{escape(text)}</td>"


def _kind(name: str) -> str:
    return ' class="n"' if name in _NUMBERS else ""
