"""One statement: its lines, its one rounding, its canonical form. Pure (SPEC §5.5, 5.6)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from babel.numbers import get_currency_precision

from metering.money import EXACT, ZERO, plain

LINE_FIELDS = ("model", "sku", "tier", "mode", "price_id", "requests", "quantity", "list_unit_price",
    "unit_price", "list_amount", "discount_amount", "amount")  # fmt: skip
_IDENTITY = ("model", "sku", "tier", "mode", "price_id", "list_unit_price", "unit_price")
_COUNTS = ("requests", "quantity")
_AMOUNTS = ("list_amount", "discount_amount", "amount")
# `ROUND_HALF_UP` is half away from zero: it looks at the digits, not at the sign.
_ROUNDING = Context(prec=60, rounding=ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose statement it is and of what."""

    number: str | None
    """None for a draft."""
    period: str
    workspace_id: str
    currency: str
    issuer: str
    customer: str


def minor_unit(currency: str) -> Decimal:
    """The smallest amount that can be paid, such as 0.01 USD or 1 JPY."""
    return Decimal(1).scaleb(-get_currency_precision(currency))


def payable(exact: Decimal, currency: str) -> Decimal:
    """The exact sum rounded to the currency's minor unit, half away from zero."""
    return exact.quantize(minor_unit(currency), context=_ROUNDING)


def statement_of(
    heading: Heading, lines: Iterable[Mapping[str, Any]], unmetered_requests: int, free_requests: int
) -> dict[str, Any]:
    """The statement as the API gives it, its `sha256` null; every amount is exact but `payable`."""
    exact = ZERO
    shown = []
    for line in lines:
        exact = EXACT.add(exact, line["amount"])
        shown.append(line_json(line))
    due = payable(exact, heading.currency)
    return {
        "number": heading.number,
        "status": "draft" if heading.number is None else "final",
        "period": heading.period,
        "workspace_id": heading.workspace_id,
        "currency": heading.currency,
        "issuer": heading.issuer,
        "customer": heading.customer,
        "lines": shown,
        "unmetered_requests": unmetered_requests,
        "free_requests": free_requests,
        "exact_amount": plain(exact),
        "rounding": plain(EXACT.subtract(due, exact)),
        "payable": _digits(due),
        "sha256": None,
    }


def line_json(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with its decimals as plain strings; with `api_key_id` first if it is by API key."""
    names = ("api_key_id", *LINE_FIELDS) if "api_key_id" in line else LINE_FIELDS
    return {name: plain(line[name]) if isinstance(line[name], Decimal) else line[name] for name in names}


def _digits(due: Decimal) -> str:
    text = format(due, "f")
    return text.removeprefix("-") if due == 0 else text


def canonical(statement: Mapping[str, Any]) -> str:
    """JSON of all of it but `sha256`: keys sorted, no spaces, in UTF-8."""
    facts = {name: value for name, value in statement.items() if name != "sha256"}
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(statement: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(statement).encode()).hexdigest()


class LineSums:
    """Sums entries of the ledger, as the API or an export gives them, to the lines of one statement."""

    def __init__(self, charges: Iterable[Mapping[str, Any]] = ()) -> None:
        self._lines: dict[tuple[Any, ...], dict[str, Any]] = {}
        for charge in charges:
            self.add(charge)

    def add(self, charge: Mapping[str, Any]) -> None:
        """Takes one more entry."""
        exact = {name: Decimal(str(charge[name])) for name in ("list_unit_price", "unit_price", *_AMOUNTS)}
        facts = {**charge, **exact}
        key = tuple(facts[name] for name in _IDENTITY)
        line = self._lines.setdefault(key, {**dict(zip(_IDENTITY, key, strict=True)),
            **dict.fromkeys(_COUNTS, 0), **dict.fromkeys(_AMOUNTS, ZERO)})  # fmt: skip
        for name in _COUNTS:
            line[name] += int(charge[name])
        for name in _AMOUNTS:
            line[name] = EXACT.add(line[name], exact[name])

    def lines(self) -> list[dict[str, Any]]:
        """The lines in the order of every statement."""
        return [self._lines[key] for key in sorted(self._lines, key=_order)]


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    model, sku, tier, mode, price_id, listed, _ = key
    bound = int(tier) if tier.isdecimal() else None
    return (model, sku, bound is None, bound or 0, tier, mode, price_id, listed)


def differences(statement: Mapping[str, Any], charged: LineSums) -> list[str]:
    """What of a statement does not follow from the charges of its workspace, period and currency; empty: proved.

    It needs nothing but the two, so a closed period can be checked from an exported folder. Counts of
    unmetered and free requests are no charges: only the hash holds them.
    """
    heading = Heading(**{name: statement[name] for name in Heading.__dataclass_fields__})
    counts = statement["unmetered_requests"], statement["free_requests"]
    return compared(statement, statement_of(heading, charged.lines(), *counts))


def verification(
    period: str, statements: Iterable[Mapping[str, Any]], differences: list[str]
) -> dict[str, Any]:
    """What came out of proving a month's statements, as the API gives it."""
    names = ("number", "workspace_id", "currency", "customer", "payable", "sha256")
    return {
        "object": "billing.verification",
        "period": period,
        "verified": not differences,
        "statements": [{name: one[name] for name in names} for one in statements],
        "differences": differences,
    }


def compared(statement: Mapping[str, Any], recomputed: Mapping[str, Any]) -> list[str]:
    """A sentence for each field that differs, and for a hash that is not of what it stands on."""
    found = [
        f"{name} is {_short(statement[name])}, recomputed it is {_short(recomputed[name])}"
        for name in recomputed
        if name not in ("sha256", "lines") and statement[name] != recomputed[name]
    ]
    found += _line_differences(statement["lines"], recomputed["lines"])
    if statement["sha256"] is not None and statement["sha256"] != sha256_of(statement):
        found.append(f"sha256 is {statement['sha256']}, of this statement it is {sha256_of(statement)}")
    return found


def _line_differences(said: list[Any], found: list[Any]) -> list[str]:
    if len(said) != len(found):
        return [f"there are {len(said)} lines, recomputed there are {len(found)}"]
    return [
        f"line {n} is {_short(one)}, recomputed it is {_short(other)}"
        for n, (one, other) in enumerate(zip(said, found, strict=True), 1)
        if one != other
    ]


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
