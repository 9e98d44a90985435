"""The price book as TOML text: every entry checked, and every fault with its line and its remedy."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from babel.numbers import is_currency

from metering.money import PRICE
from metering.price import Price, Tier, instant

_PRICE_KEYS = ("model", "currency", "valid_from", "source", "tiers")
_TIER_KEYS = ("up_to_input_tokens", "input", "output", "output_thinking")
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_MILLIONTH = Decimal("0.000001")
_HIGHEST = "999999999.999999"
_STRINGS_AND_COMMENTS = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)
_BLOCK = re.compile(r"^[ \t]*\[\[[ \t]*prices[ \t]*\]\]", re.MULTILINE)
_TIER = re.compile(r"\{|\[\[[ \t]*prices[ \t]*\.[ \t]*tiers[ \t]*\]\]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a price book."""

    path: str
    line: int | None
    """1-based; none if no line of the file is to blame."""
    field: str | None
    """Where in the entry, as in `tiers[1].input`."""
    message: str
    """What is wrong and what to write instead."""

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class PriceBookError(Exception):
    """The price book can't be used; all its faults are named."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Entry:
    """A price and the line at which it begins."""

    price: Price
    line: int


@dataclass(frozen=True, slots=True)
class PriceFile:
    """The entries of a file, in its order."""

    path: str
    entries: tuple[Entry, ...]
    lines: int
    """How many the file has: something to add comes after them."""


@dataclass(frozen=True, slots=True)
class _Bare:
    """A TOML float as it was written, so that no digit of it is lost in the message."""

    text: str


class _Wrong(Exception):
    """A value can't be taken; the message says what to write."""


def read_price_file(path: Path) -> PriceFile:
    """Reads and checks a whole file; raises `PriceBookError` with every fault in it."""
    return read_price_text(str(path), price_text(path))


def read_price_text(path: str, text: str) -> PriceFile:
    """Checks the text of a file; `path` is what faults call it."""
    checker = _Checker(path, _Lines(text))
    entries = checker.entries(_table_of(path, text))
    if checker.faults:
        raise PriceBookError(sorted(checker.faults, key=lambda fault: fault.line or 0))
    return PriceFile(path, tuple(entries), len(text.splitlines()))


def price_text(path: Path) -> str:
    """The text of a file; `PriceBookError` if it can't be read."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PriceBookError(
            [Fault(str(path), line, None, "is not UTF-8; save the file as UTF-8")]
        ) from error
    except OSError as error:
        said = f"can't be read ({error.strerror}); let billing.prices name a price book"
        raise PriceBookError([Fault(str(path), None, None, said)]) from error


def _table_of(path: str, text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text, parse_float=_Bare)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else max(1, len(text.splitlines()))
        raise PriceBookError([Fault(path, line, None, f"is not TOML: {error}")]) from error


class _Lines:
    """Where the entries and their fields stand. Strings and comments are blanked, so that none is mistaken."""

    def __init__(self, text: str) -> None:
        self._text = _STRINGS_AND_COMMENTS.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
        starts = [found.start() for found in _BLOCK.finditer(self._text)]
        self._blocks = list(zip(starts, [*starts, len(text)][1:], strict=True))

    def of(self, block: int | None, key: str | None = None, tier: int | None = None) -> int:
        """The line of a key, else of its tier, its entry or the file."""
        start, end = (
            self._blocks[block] if block is not None and block < len(self._blocks) else (0, len(self._text))
        )
        if tier is not None:
            found = self._key("tiers", start, end)
            marks = [m.start() for m in _TIER.finditer(self._text, start if found is None else found, end)]
            if tier < len(marks):
                start, end = marks[tier], [*marks[tier + 1 :], end][0]
        found = self._key(key, start, end) if key else None
        return self._text.count("\n", 0, start if found is None else found) + 1

    def _key(self, key: str, start: int, end: int) -> int | None:
        name = re.escape(key)
        pattern = re.compile(rf"(?<![\w.-]){name}[ \t]*=|^[ \t]*\[+[ \t]*{name}[ \t]*[\].]", re.MULTILINE)
        found = pattern.search(self._text, start, end)
        return found.start() if found else None


class _Checker:
    """Turns tables into prices and collects what is wrong with them."""

    def __init__(self, path: str, lines: _Lines) -> None:
        self._path, self._lines = path, lines
        self.faults: list[Fault] = []

    def entries(self, table: Mapping[str, Any]) -> list[Entry]:
        """All entries that are right; `faults` tells of the others."""
        self._known(table, ("prices",), None)
        blocks = table.get("prices", [])
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            self._fault(None, "prices", "must be a list of tables; begin each price with [[prices]]")
            return []
        found: dict[tuple[str, str, datetime], Entry] = {}
        for number, block in enumerate(blocks):
            if (price := self._price(number, block)) is None:
                continue
            key = (price.model, price.currency, price.valid_from)
            if key in found:
                self._twice(number, price, found[key])
            found.setdefault(key, Entry(price, self._lines.of(number)))
        return list(found.values())

    def _twice(self, number: int, price: Price, first: Entry) -> None:
        said = (
            f"{price.model} in {price.currency} has a price from {instant(price.valid_from)} at line {first.line} "
            "already; give this one another valid_from, or remove it"
        )
        self._fault(number, "valid_from", said)

    def _price(self, number: int, block: Mapping[str, Any]) -> Price | None:
        before = len(self.faults)
        self._known(block, _PRICE_KEYS, number)
        model = self._take(number, block, "model", _model)
        currency = self._take(number, block, "currency", _currency)
        valid_from = self._take(number, block, "valid_from", _valid_from)
        source = self._take(number, block, "source", _source) if "source" in block else None
        tiers = self._tiers(number, block)
        return None if len(self.faults) > before else Price.of(model, currency, valid_from, tiers, source)

    def _tiers(self, number: int, block: Mapping[str, Any]) -> tuple[Tier, ...]:
        tables = self._take(number, block, "tiers", _tables)
        tiers = [self._tier(number, k, table) for k, table in enumerate(tables or ())]
        for k in range(len(tiers) - 1):
            bound, following = tiers[k].up_to_input_tokens, tiers[k + 1].up_to_input_tokens
            if bound is None and "up_to_input_tokens" not in tables[k]:
                said = "is missing; only the last tier may leave it out"
                self._fault(number, "up_to_input_tokens", said, tier=k)
            elif bound is not None and following is not None and following <= bound:
                said = f"{following} does not lie above {bound} of the tier before; order the tiers by their bounds"
                self._fault(number, "up_to_input_tokens", said, tier=k + 1)
        return tuple(tiers)

    def _tier(self, number: int, k: int, table: Mapping[str, Any]) -> Tier:
        self._known(table, _TIER_KEYS, number, k)
        bounded = "up_to_input_tokens" in table
        bound = self._take(number, table, "up_to_input_tokens", _bound, k) if bounded else None
        unit_in = self._take(number, table, "input", _unit_price, k)
        unit_out = self._take(number, table, "output", _unit_price, k)
        thinks = "output_thinking" in table
        thinking = self._take(number, table, "output_thinking", _unit_price, k) if thinks else unit_out
        return Tier(bound, unit_in, unit_out, thinking)

    def _take(
        self, number: int, table: Mapping[str, Any], key: str, check: Any, tier: int | None = None
    ) -> Any:
        try:
            if key not in table:
                raise _Wrong(f"is missing; {_EXAMPLES[key]}")
            return check(table[key])
        except _Wrong as wrong:
            self._fault(number, key, str(wrong), tier=tier)
            return None

    def _known(
        self, table: Mapping[str, Any], keys: Sequence[str], number: int | None, tier: int | None = None
    ) -> None:
        for key in table:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                said = (
                    f"is no known key; did you mean {near[0]}?"
                    if near
                    else f"is no known key; {' '.join(keys)} are"
                )
                self._fault(number, key, said, tier=tier)

    def _fault(self, number: int | None, key: str, message: str, *, tier: int | None = None) -> None:
        field = key if tier is None else f"tiers[{tier}].{key}"
        self.faults.append(Fault(self._path, self._lines.of(number, key, tier), field, message))


_EXAMPLES: Mapping[str, str] = {
    "model": 'write for instance model = "qwen-plus"',
    "currency": 'write for instance currency = "USD"',
    "valid_from": "write for instance valid_from = 2026-02-24T00:00:00Z",
    "tiers": 'write for instance tiers = [{ input = "0.8", output = "2" }]',
    "input": 'write for instance input = "0.8"',
    "output": 'write for instance output = "2"',
}


_MEANT = {
    "RMB": "CNY",
    "CNH": "CNY",
    "YUAN": "CNY",
    "¥": "CNY",
    "$": "USD",
    "US$": "USD",
    "DOLLAR": "USD",
    "€": "EUR",
}
"""Names of money that are no codes of ISO 4217, and the code that was likely meant."""


def _model(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 256:
        raise _Wrong(f"must be a model's name of 1 to 256 characters; {_EXAMPLES['model']}")
    return value


def _currency(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value) and is_currency(value):
        return value
    meant = _MEANT.get(str(value).strip().upper(), str(value).strip().upper())
    likely = re.fullmatch(r"[A-Z]{3}", meant) and is_currency(meant)
    remedy = f'write currency = "{meant}"' if likely else _EXAMPLES["currency"]
    raise _Wrong(f"{_shown(value)} is no ISO 4217 currency code; {remedy}")


def _valid_from(value: Any) -> datetime:
    if not isinstance(value, date):
        raise _Wrong(f"{_shown(value)} is no moment; {_EXAMPLES['valid_from']}, without quotes")
    if not isinstance(value, datetime):
        raise _Wrong(f"is a date without time and zone; write valid_from = {value.isoformat()}T00:00:00Z")
    if value.tzinfo is None:
        raise _Wrong(f"has no time zone; write valid_from = {value.isoformat()}Z or another offset")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise _Wrong(f"is out of range; {_EXAMPLES['valid_from']}") from None


def _source(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong('must be a text; write for instance source = "the provider\'s price list"')
    return value


def _tables(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(tier, dict) for tier in value):
        raise _Wrong(f"must be a list of at least one tier; {_EXAMPLES['tiers']}")
    return value


def _bound(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _Wrong(
            f"{_shown(value)} is no count of tokens; write a whole number from 1, for instance 128000"
        )
    return value


def _unit_price(value: Any) -> Decimal:
    text = _digits(value)
    if text is None:
        meant = _digits(value.strip().replace(",", ".")) if isinstance(value, str) else None
        remedy = _quoted(meant) if meant else 'a string such as "0.8"'
        raise _Wrong(f"{_shown(value)} is no decimal number; write {remedy}")
    if not isinstance(value, str):
        raise _Wrong(f"{_shown(value)} is a bare number; write it as a string: {_quoted(text)}")
    if text.startswith("-"):
        raise _Wrong(f"{_shown(value)} is negative; a price is 0 or more, for instance {_quoted(text[1:])}")
    if "e" in text.lower():
        raise _Wrong(f"{_shown(value)} is in scientific notation; write {_quoted(text)}")
    if len(text.partition(".")[2]) > 6:
        near = _quoted(str(Decimal(text).quantize(_MILLIONTH)))
        raise _Wrong(
            f"{_shown(value)} has more than 6 decimals; prices are per million tokens, to 6 decimals: "
            f"write for instance {near}"
        )
    if not PRICE.fullmatch(text):
        raise _Wrong(
            f'{_shown(value)} is above the highest price per million tokens; write at most "{_HIGHEST}"'
        )
    return Decimal(text)


def _digits(value: Any) -> str | None:
    text = value.text if isinstance(value, _Bare) else str(value) if type(value) is int else value
    return text if isinstance(text, str) and _NUMBER.fullmatch(text) else None


def _quoted(text: str) -> str:
    return f'"{format(Decimal(text), "f")}"'


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    shown = value.text if isinstance(value, _Bare) else repr(value)
    return shown if len(shown) <= 60 else shown[:60] + "…"
