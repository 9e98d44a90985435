"""Statements as double entry for Beancount: a receivable, the income by model and SKU, and the rounding."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from metering.exports.formats import texts
from metering.exports.papers import statements_of
from metering.exports.sources import Asked
from metering.store import Reader

_NOT_IN_A_NAME = re.compile("[^A-Za-z0-9-]+")
_ROUNDING = "Income:Rounding"


def beancount(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """The journal of a month: a transaction a statement, dated its last day. It stands alone."""
    statements = [statement for statement in statements_of(read, asked) if statement["lines"]]
    year, number = (int(part) for part in str(asked.span.period).split("-"))
    first = date(year, number, 1)
    last = date(year + number // 12, number % 12 + 1, 1) - timedelta(days=1)
    yield from texts([("\n".join(_head(statements, str(asked.span.period), first)) + "\n", False)])
    for statement in statements:
        yield from texts([("\n" + "\n".join(_transaction(statement, last)) + "\n", True)])


def _head(statements: list[dict[str, Any]], period: str, first: date) -> Iterator[str]:
    yield f'option "title" {_quoted(f"Batch inference {period}")}'
    # Every digit counts: without this, half a cent of difference would pass as balanced.
    yield 'option "tolerance_multiplier" "0"'
    accounts: dict[str, set[str]] = {}
    for statement in statements:
        for account in (_receivable(statement), _ROUNDING, *(_income(line) for line in statement["lines"])):
            accounts.setdefault(account, set()).add(statement["currency"])
    for currency in sorted({statement["currency"] for statement in statements}):
        yield f'option "operating_currency" "{currency}"'
    for account in sorted(accounts):
        yield f"{first} open {account} {','.join(sorted(accounts[account]))}"


def _transaction(statement: Mapping[str, Any], day: date) -> Iterator[str]:
    currency = statement["currency"]
    name = statement["number"] or f"draft-{statement['period']}-{statement['workspace_id']}-{currency}"
    about = f"{statement['customer']}, batch inference {statement['period']}"
    flag = "*" if statement["status"] == "final" else "!"
    yield f"{day} {flag} {_quoted(statement['issuer'])} {_quoted(about)} ^{_NOT_IN_A_NAME.sub('-', name)}"
    yield f"  status: {_quoted(statement['status'])}"
    yield f"  workspace: {_quoted(statement['workspace_id'])}"
    if statement["sha256"] is not None:
        yield f"  sha256: {_quoted(statement['sha256'])}"
    yield f"  {_receivable(statement)}  {statement['payable']} {currency}"
    for line in statement["lines"]:
        yield f"  {_income(line)}  {_opposite(line['amount'])} {currency}"
        yield f"    model: {_quoted(line['model'])}"
        yield f"    tier: {_quoted(line['tier'])}"
        yield f"    mode: {_quoted(line['mode'])}"
        yield f"    tokens: {line['quantity']}"
        yield f"    price: {_quoted(line['price_id'])}"
    yield f"  {_ROUNDING}  {_opposite(statement['rounding'])} {currency}"


def _receivable(statement: Mapping[str, Any]) -> str:
    return f"Assets:Receivable:{_component(statement['workspace_id'])}"


def _income(line: Mapping[str, Any]) -> str:
    return f"Income:Batch:{_component(line['model'])}:{_component(line['sku'])}"


def _component(name: str) -> str:
    """A part of an account's name; where more than underscores is replaced, a hash keeps names apart."""
    plainer = name.replace("_", "-")
    cleaned = _NOT_IN_A_NAME.sub("-", plainer).strip("-")
    if cleaned != plainer or not cleaned:
        cleaned = f"{cleaned or 'X'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return cleaned[0].upper() + cleaned[1:]


def _opposite(amount: str) -> str:
    if amount.startswith("-"):
        return amount[1:]
    return amount if amount == "0" else f"-{amount}"


def _quoted(text: str) -> str:
    shown = " ".join(text.split())
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
