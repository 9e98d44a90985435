"""Statements as a page that prints well: one sheet each, nothing loaded from anywhere."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

_COLUMNS = (
    ("Model", "model"),
    ("SKU", "sku"),
    ("Tier", "tier"),
    ("Mode", "mode"),
    ("Requests", "requests"),
    ("Tokens", "quantity"),
    ("Per million", "unit_price"),
    ("List amount", "list_amount"),
    ("Discount", "discount_amount"),
    ("Amount", "amount"),
)
_NUMBERS = frozenset(name for _, name in _COLUMNS[4:])
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
th, td { border-bottom: 1px solid #ccc; padding: .25rem .4rem; text-align: left; overflow-wrap: anywhere }
.n { text-align: right; font-variant-numeric: tabular-nums }
.due { font-weight: bold }
@page { margin: 15mm }
"""


def statement_page(statements: Iterable[Mapping[str, Any]]) -> str:
    """A whole HTML document of statements as `Statements.of` gives them; every text of a user is escaped."""
    sheets = "".join(_sheet(one) for one in statements) or "<p>Nothing was delivered in this month.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Statement</title>'
        f"<style>{_STYLE}</style></head><body>{sheets}</body></html>"
    )


def _sheet(one: Mapping[str, Any]) -> str:
    title = f"Statement {one['number']}" if one["number"] else "Statement, draft"
    return (
        f"<section><h1>{escape(title)}</h1><dl>{''.join(_facts(one))}</dl>{_table(one['lines'])}"
        f"<dl>{''.join(_sums(one))}</dl></section>"
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
    return f'<dt>{escape(name)}</dt><dd class="{kind}">{escape(str(value))}</dd>'


def _table(lines: list[Mapping[str, Any]]) -> str:
    by_key = any("api_key_id" in line for line in lines)
    columns = (("API key", "api_key_id"), *_COLUMNS) if by_key else _COLUMNS
    head = "".join(f'<th scope="col"{_kind(name)}>{label}</th>' for label, name in columns)
    rows = "".join(f"<tr>{''.join(_cell(line, name) for _, name in columns)}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(line: Mapping[str, Any], name: str) -> str:
    value = line[name]
    text = f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")
    return f"<td{_kind(name)}>{escape(text)}</td>"


def _kind(name: str) -> str:
    return ' class="n"' if name in _NUMBERS else ""
