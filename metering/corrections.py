"""A mistake in the ledger is corrected by new entries that name the old one (SPEC §5.7)."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from metering.access import Access
from metering.closing import is_open
from metering.ending import Meter
from metering.errors import Conflict, InvalidParameter, NotFound
from metering.ledger import charge_json
from metering.money import EXACT, PRICE
from metering.options import BillingOptions
from metering.rating import BATCH_FACTOR, BATCH_PER_TOKEN, PER_TOKEN
from metering.store import Row, Store, Transaction

ADMIN_AUTHOR = "admin"
"""The `author_key_id` of what was done with the admin key, which has no id."""
MAX_REASON = 500
MAX_QUANTITY = 10**15
_NEGATED = ("requests", "quantity", "list_amount", "discount_amount", "amount")
_COLUMN = Decimal("0.000000000000001")
"""The scale of the ledger's columns, which hold every amount exactly."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a charge should have said; None is what it did say."""

    quantity: int | None = None
    """Tokens."""
    list_unit_price: str | None = None
    """Per million tokens, as a decimal string of at most 6 decimals."""


class Corrections:
    """Makes corrections. Thread-safe: each is one transaction of the writer."""

    def __init__(
        self,
        store: Store,
        meter: Meter,
        billing: BillingOptions,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is told after each commit."""
        self._store, self._meter, self._zone, self._on_change = store, meter, billing.zone, on_change

    def correct(
        self, access: Access, charge_id: str, reason: str, replacement: Replacement | None = None
    ) -> dict[str, Any]:
        """Reverses a charge in full and, if asked, enters a replacement; gives both entries.

        Refused: an unknown charge (404), a reversal, a bad reason or figure (400), a charge that was
        reversed before (409).
        """
        access.require_admin()
        why = _reason(reason)
        if replacement is not None:
            _check(replacement)
        author = access.key_id or ADMIN_AUTHOR
        made = self._store.write(lambda tx: self._correct(tx, charge_id, why, author, replacement))
        self._on_change()
        return {
            "object": "billing.correction",
            "corrects": charge_id,
            "reversal": charge_json(made[0]),
            "replacement": charge_json(made[1]) if len(made) > 1 else None,
        }

    def _correct(
        self, tx: Transaction, charge_id: str, reason: str, author: str, replacement: Replacement | None
    ) -> list[Row]:
        original = tx.one("corrections.charge", charge_id=charge_id)
        if original is None:
            raise NotFound("charge", charge_id, param="charge_id")
        _check_reversible(tx, original)
        at = self._meter.moment(tx)
        same = {
            **original,
            "kind": "correction",
            "corrects": charge_id,
            "recorded_at": at,
            "period": self._period(tx, original, at),
            "reason": reason,
            "author_key_id": author,
        }
        entries = [_reversal(same)]
        if replacement is not None:
            entries.append(_replaced(same, replacement))
        tx.insert("charges", entries)
        return entries

    def _period(self, tx: Transaction, original: Row, at: datetime) -> str:
        """The original's if it is still open, else the running month."""
        period: str = original["period"]
        return period if is_open(tx, period) else at.astimezone(self._zone).strftime("%Y-%m")


def reversal_id(charge_id: str) -> str:
    """The id of the one reversal that a charge can have."""
    return _identity("reversal", charge_id)


def _identity(kind: str, charge_id: str) -> str:
    text = json.dumps([kind, charge_id], separators=(",", ":"), ensure_ascii=False)
    return "chg_" + hashlib.sha256(text.encode()).hexdigest()[:40]


def _check_reversible(tx: Transaction, original: Row) -> None:
    charge_id = original["charge_id"]
    if original["corrects"] is not None and charge_id == reversal_id(original["corrects"]):
        raise InvalidParameter(
            f"{charge_id} is a reversal, which can't be reversed. Correct the replacement of "
            f"{original['corrects']}, if it has one.",
            param="charge_id",
            code="is_reversal",
        )
    if tx.one("corrections.exists", charge_id=reversal_id(charge_id)) is not None:
        raise Conflict(
            f"{charge_id} was reversed before, by {reversal_id(charge_id)}; a charge is reversed once at most. "
            "Correct its replacement, if it has one.",
            param="charge_id",
            code="already_reversed",
        )


def _reversal(same: Row) -> Row:
    negated = {name: EXACT.minus(value) if isinstance(value := same[name], Decimal) else -value
        for name in _NEGATED}  # fmt: skip
    return {**same, "charge_id": reversal_id(same["corrects"]), **negated}


def _replaced(same: Row, wanted: Replacement) -> Row:
    quantity = same["quantity"] if wanted.quantity is None else wanted.quantity
    unit = same["list_unit_price"] if wanted.list_unit_price is None else Decimal(wanted.list_unit_price)
    tokens = EXACT.multiply(Decimal(quantity), unit)
    listed, amount = EXACT.multiply(tokens, PER_TOKEN), EXACT.multiply(tokens, BATCH_PER_TOKEN)
    money = {
        "list_unit_price": unit,
        "unit_price": EXACT.multiply(unit, BATCH_FACTOR),
        "list_amount": listed,
        "discount_amount": EXACT.subtract(listed, amount),
        "amount": amount,
    }
    return {
        **same,
        "charge_id": _identity("replacement", same["corrects"]),
        "quantity": quantity,
        **{name: EXACT.quantize(value, _COLUMN) for name, value in money.items()},
    }


def _reason(text: str) -> str:
    reason = text.strip()
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise InvalidParameter(
            f"reason must have 1 to {MAX_REASON} printable characters: say what was wrong.", param="reason"
        )
    return reason


def _check(wanted: Replacement) -> None:
    if wanted.quantity is None and wanted.list_unit_price is None:
        raise InvalidParameter(
            "replacement must set quantity, list_unit_price or both; leave it out for a reversal alone.",
            param="replacement",
        )
    if wanted.quantity is not None and not 0 <= wanted.quantity <= MAX_QUANTITY:
        raise InvalidParameter(
            f"quantity must be a whole number of tokens from 0 to {MAX_QUANTITY}.",
            param="replacement.quantity",
        )
    if wanted.list_unit_price is not None and not PRICE.fullmatch(wanted.list_unit_price):
        raise InvalidParameter(
            'list_unit_price must be a decimal string per million tokens such as "0.8", not negative, '
            "with at most 6 decimals.",
            param="replacement.list_unit_price",
        )
