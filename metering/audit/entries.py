"""What the ledger must say of a task, worked out in rational numbers, beside what it says."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from metering.audit.price_history import Rates
from metering.audit.report import Findings, shown
from metering.audit.tally import Group
from metering.store import Row

_MILLION = 1_000_000
_KEY = ("sku", "tier", "mode")
_MONEY = ("list_amount", "discount_amount", "amount")
_NEGATED = ("requests", "quantity", *_MONEY)
_OF_THE_ORIGINAL = (
    "task_id",
    "workspace_id",
    "api_key_id",
    "model",
    "sku",
    "tier",
    "mode",
    "currency",
    "price_id",
    "ended_at",
)


def expected_charges(
    task: Row, rates: Rates, groups: Mapping[Group, tuple[int, ...]], zone: ZoneInfo
) -> list[Row]:
    """The usage entries of a task: an input entry for each tier and mode, an output entry above 0 tokens."""
    entries = []
    for (tier, mode), (requests, inputs, outputs) in groups.items():
        entries.append(_entry(task, rates, ("input_tokens", tier, mode), requests, inputs, zone))
        if outputs:
            entries.append(_entry(task, rates, ("output_tokens", tier, mode), 0, outputs, zone))
    return entries


def _entry(
    task: Row, rates: Rates, key: tuple[str, str, str], requests: int, quantity: int, zone: ZoneInfo
) -> Row:
    sku, tier, mode = key
    unit = rates.unit(tier, mode, sku)
    ended_at: datetime = task["ended_at"]
    return {
        "charge_id": _identity(["usage", task["task_id"], sku, rates.price_id, tier, mode]),
        "corrects": None,
        "task_id": task["task_id"],
        "workspace_id": task["workspace_id"],
        "api_key_id": task["api_key_id"],
        "model": task["model"],
        "sku": sku,
        "tier": tier,
        "mode": mode,
        "requests": requests,
        "quantity": quantity,
        **_priced(quantity, unit),
        "list_unit_price": unit,
        "currency": rates.currency,
        "ended_at": ended_at,
        "recorded_at": ended_at,
        "period": ended_at.astimezone(zone).strftime("%Y-%m"),
        "price_id": rates.price_id,
        "reason": None,
        "author_key_id": None,
    }


def _priced(quantity: int, unit: Fraction) -> Row:
    listed = quantity * unit / _MILLION
    return {
        "unit_price": unit / 2,
        "list_amount": listed,
        "amount": listed / 2,
        "discount_amount": listed / 2,
    }


def _identity(facts: list[Any]) -> str:
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return f"chg_{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def compare_usage(findings: Findings, expected: Iterable[Row], entered: Iterable[Row], by: str) -> None:
    """Holds the usage entries of a task against what they must be; `by` says what that was worked out from."""
    wanted = {entry["charge_id"]: entry for entry in expected}
    keys = {tuple(entry[name] for name in _KEY) for entry in wanted.values()}
    strays = []
    for found in entered:
        entry = wanted.pop(found["charge_id"], None)
        if entry is None:
            strays.append(found)
        else:
            _compare_columns(findings, "charge", entry, found, by)
    missing = {tuple(entry[name] for name in _KEY): entry for entry in wanted.values()}
    for found in strays:
        key = tuple(found[name] for name in _KEY)
        entry = missing.pop(key, None)
        if entry is not None:
            _compare_columns(findings, "charge", entry, found, by)
            continue
        said = (
            "a second entry for the same SKU, tier and mode" if key in keys else "an entry that must not be"
        )
        about = f"{' '.join(key)}, {found['quantity']} tokens"
        findings.add("charge", "charge_id", None, found["charge_id"], id=found["charge_id"],
            message=f"{said} by the {by}: {about}")  # fmt: skip
    for key, entry in missing.items():
        about = f"{' '.join(key)}, {entry['quantity']} tokens"
        findings.add("charge", "charge_id", entry["charge_id"], None, id=entry["charge_id"],
            message=f"the entry is missing by the {by}: {about}")  # fmt: skip


def _compare_columns(findings: Findings, place: str, entry: Row, found: Row, by: str | None = None) -> None:
    for column, wanted in entry.items():
        seen = _exact(found[column])
        if seen != wanted:
            findings.add(
                place,
                column,
                wanted,
                seen,
                id=found["charge_id"],
                message=by and _said(column, wanted, seen, by),
            )


def _said(column: str, wanted: object, seen: object, by: str) -> str:
    return f"{column} is {shown(seen) or 'missing'}, must be {shown(wanted) or 'nothing'} by the {by}"


def _exact(value: Any) -> Any:
    return Fraction(value) if isinstance(value, Decimal) else value


# -- corrections -----------------------------------------------------------------------------------------


def compare_corrections(findings: Findings, charges: Iterable[Row], zone: ZoneInfo) -> None:
    """Holds each correction of a task against the entry that it names."""
    known = {row["charge_id"]: row for row in charges}
    reversed_by: dict[str, list[Row]] = {}
    replaced_by: dict[str, list[Row]] = {}
    for row in known.values():
        if row["kind"] == "usage":
            continue
        original = known.get(row["corrects"])
        if row["kind"] != "correction" or original is None:
            _of_nothing(findings, row)
            continue
        is_reversal = _is_reversal(row)
        (reversed_by if is_reversal else replaced_by).setdefault(row["corrects"], []).append(row)
        _compare_columns(findings, "correction", _correction(row, original, is_reversal, zone), row)
        if is_reversal and original["kind"] == "correction" and _is_reversal(original):
            findings.add(
                "correction", "corrects", "a charge or a replacement", "a reversal", id=row["charge_id"]
            )
    for corrected, rows in reversed_by.items():
        for row in rows[1:]:
            _again(findings, row, corrected, "reversed")
    for corrected, rows in replaced_by.items():
        for row in rows[1:]:
            _again(findings, row, corrected, "replaced")
        if corrected not in reversed_by:
            findings.add("correction", "corrects", "a reversal beside it", None, id=rows[0]["charge_id"],
                message=f"replaces {corrected}, which was not reversed")  # fmt: skip


def _of_nothing(findings: Findings, row: Row) -> None:
    if row["kind"] != "correction":
        findings.add("charge", "kind", "usage or correction", row["kind"], id=row["charge_id"])
        return
    findings.add("correction", "corrects", "a charge of this task", row["corrects"], id=row["charge_id"])


def _is_reversal(row: Row) -> bool:
    if row["kind"] != "correction":
        return False
    if row["charge_id"] == _identity(["reversal", row["corrects"]]):
        return True
    return row["charge_id"] != _identity(["replacement", row["corrects"]]) and (
        row["quantity"],
        row["requests"],
    ) < (0, 0)


def _correction(row: Row, original: Row, is_reversal: bool, zone: ZoneInfo) -> Row:
    """What a correction must say, given what it corrects."""
    running = row["recorded_at"].astimezone(zone).strftime("%Y-%m")
    same = {name: original[name] for name in _OF_THE_ORIGINAL}
    same["charge_id"] = _identity(["reversal" if is_reversal else "replacement", row["corrects"]])
    if row["recorded_at"] < original["recorded_at"]:
        same["recorded_at"] = original["recorded_at"]
    if row["period"] != original["period"]:
        same["period"] = running
    if not is_reversal:
        return {
            **same,
            "requests": original["requests"],
            **_priced(row["quantity"], Fraction(row["list_unit_price"])),
        }
    units = {name: Fraction(original[name]) for name in ("list_unit_price", "unit_price")}
    return {**same, **units, **{name: -_exact(original[name]) for name in _NEGATED}}


def _again(findings: Findings, row: Row, corrected: str, how: str) -> None:
    findings.add("correction", "corrects", None, corrected, id=row["charge_id"],
        message=f"{corrected} is {how} a second time")  # fmt: skip
