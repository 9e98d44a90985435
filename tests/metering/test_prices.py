import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from metering.errors import Refused
from metering.price import Price, Tier
from metering.prices import PriceBook, PriceBookError
from metering.store import Store
from tests.metering.billed import BOOK, NOON, StandingClock, book, end, ended, event, meter, open_store, rows

CONFIG = Path(__file__).parents[2] / "config"
ENTRY = '[[prices]]\nmodel = "m"\ncurrency = "USD"\nvalid_from = 2026-01-01T00:00:00Z\ntiers = [{ input = "1", output = "2" }]\n'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def test_a_price_has_the_identity_of_its_facts() -> None:
    """Zeros, offsets, defaults and the source don't matter; anything else does."""

    def price(unit: str, at: str = "2026-01-01T00:00:00+00:00", thinking: str = "2") -> str:
        tier = Tier(None, Decimal(unit), Decimal("2.0"), Decimal(thinking))
        return Price.of("m", "USD", datetime.fromisoformat(at), (tier,), source=unit).price_id

    assert (
        price("0.8")
        == price("0.800")
        == price("0.8", "2026-01-01T08:00:00+08:00")
        == price("0.8", thinking="2.00")
    )
    assert (
        len(
            {
                price("0.8"),
                price("0.81"),
                price("0.8", "2026-01-01T00:00:01+00:00"),
                price("0.8", thinking="3"),
            }
        )
        == 4
    )
    assert re.fullmatch(r"[0-9a-f]{64}", price("1"))


def test_thinking_costs_what_other_output_costs_if_not_said(tmp_path: Path) -> None:
    """`output_thinking` defaults to `output`, in the identity too."""
    plain = book(tmp_path, ENTRY).prices[0]
    said = book(tmp_path, ENTRY.replace('"2" }', '"2.0", output_thinking = "2" }')).prices[0]
    assert plain.tiers[0].output_thinking == Decimal(2)
    assert plain.price_id == said.price_id
    assert plain.canonical == (
        '{"currency":"USD","model":"m","tiers":[{"input":"1","output":"2","output_thinking":"2",'
        '"up_to_input_tokens":null}],"valid_from":"2026-01-01T00:00:00Z"}'
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "said"),
    [
        ('"1"', "0.8", 5, "tiers[0].input", 'write it as a string: "0.8"'),
        ('"1"', "1e-3", 5, "tiers[0].input", 'write it as a string: "0.001"'),
        ('"1"', "3", 5, "tiers[0].input", 'write it as a string: "3"'),
        ('"1"', "nan", 5, "tiers[0].input", 'write a string such as "0.8"'),
        ('"1"', "true", 5, "tiers[0].input", 'true is no decimal number; write a string such as "0.8"'),
        ('"2"', '"-2"', 5, "tiers[0].output", 'is negative; a price is 0 or more, for instance "2"'),
        ('"2"', '"2e-3"', 5, "tiers[0].output", 'is in scientific notation; write "0.002"'),
        (
            '"2"',
            '"0.1234567"',
            5,
            "tiers[0].output",
            'more than 6 decimals; prices are per million tokens, to 6 decimals: write for instance "0.123457"',
        ),
        ('"2"', '"2,5"', 5, "tiers[0].output", 'no decimal number; write "2.5"'),
        ('"2"', '" 2 "', 5, "tiers[0].output", 'no decimal number; write "2"'),
        ('"2"', '""', 5, "tiers[0].output", 'write a string such as "0.8"'),
        ('"2"', "[2]", 5, "tiers[0].output", 'write a string such as "0.8"'),
        ('"2"', '"1_000"', 5, "tiers[0].output", "no decimal number"),
        ('"2"', '"٣"', 5, "tiers[0].output", "no decimal number"),
        ('"2"', '"9999999999"', 5, "tiers[0].output", 'write at most "999999999.999999"'),
        (', output = "2"', "", 5, "tiers[0].output", 'is missing; write for instance output = "2"'),
        ('input = "1"', 'inptu = "1"', 5, "tiers[0].inptu", "did you mean input?"),
        ('[{ input = "1", output = "2" }]', "[]", 5, "tiers", "at least one tier"),
        (
            "{ input",
            "{ up_to_input_tokens = 0, input",
            5,
            "tiers[0].up_to_input_tokens",
            "whole number from 1",
        ),
        (
            "{ input",
            "{ up_to_input_tokens = 1.5, input",
            5,
            "tiers[0].up_to_input_tokens",
            "whole number from 1",
        ),
        ('model = "m"', "model = 7", 2, "model", "must be a model's name"),
        ('model = "m"\n', "", 1, "model", "is missing"),
        ('model = "m"', 'model = "m"\nvalid_form = 1', 3, "valid_form", "did you mean valid_from?"),
        ('"USD"', '"usd"', 3, "currency", 'no ISO 4217 currency code; write currency = "USD"'),
        ('"USD"', '"RMB"', 3, "currency", 'no ISO 4217 currency code; write currency = "CNY"'),
        ('"USD"', "840", 3, "currency", 'no ISO 4217 currency code; write for instance currency = "USD"'),
        ('"USD"', '"XQQ"', 3, "currency", "no ISO 4217 currency code"),
        ("2026-01-01T00:00:00Z", "2026-01-01", 4, "valid_from", "write valid_from = 2026-01-01T00:00:00Z"),
        (
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00",
            4,
            "valid_from",
            "write valid_from = 2026-01-01T00:00:00Z",
        ),
        ("2026-01-01T00:00:00Z", '"2026-01-01T00:00:00Z"', 4, "valid_from", "without quotes"),
    ],
)
def test_a_fault_names_file_line_field_and_remedy(
    tmp_path: Path, old: str, new: str, line: int, field: str, said: str
) -> None:
    """Whatever is wrong in an entry, its own line is named, and the lines of other entries are not."""
    first = ENTRY.replace('"m"', '"first"')
    broken = f"# comment with [[prices]]\n{first}\n{ENTRY.replace(old, new)}"
    with pytest.raises(PriceBookError) as caught:
        book(tmp_path, broken)
    fault = caught.value.faults[0]
    offset = 1 + ENTRY.count("\n") + 1
    assert (fault.line, fault.field) == (offset + line, field)
    assert said in fault.message
    assert str(fault).startswith(f"{tmp_path / 'prices.toml'}:{offset + line}: {field}: ")


def test_tiers_must_rise_and_only_the_last_may_be_open(tmp_path: Path) -> None:
    """Each tier has its own line, whatever strings and comments stand between them."""
    tiers = """tiers = [
  { up_to_input_tokens = 10, input = "1", output = "{" },  # { comment
  { input = "1", output = "1" },
  { up_to_input_tokens = 5, input = "1", output = "1" },
  { up_to_input_tokens = 5, input = "1", output = "1" },
]"""
    with pytest.raises(PriceBookError) as caught:
        book(tmp_path, ENTRY.replace('tiers = [{ input = "1", output = "2" }]', tiers))
    assert [(fault.line, fault.field) for fault in caught.value.faults] == [
        (6, "tiers[0].output"),
        (7, "tiers[1].up_to_input_tokens"),
        (9, "tiers[3].up_to_input_tokens"),
    ]


def test_tiers_may_be_written_as_tables(tmp_path: Path) -> None:
    """The other way that TOML has for them finds its lines too."""
    head = ENTRY.splitlines()[:4]
    text = "\n".join(
        [
            *head,
            "[[prices.tiers]]",
            'input = "1"',
            'output = "2"',
            "[[prices.tiers]]",
            "input = 1",
            'output = "2"',
        ]
    )
    with pytest.raises(PriceBookError) as caught:
        book(tmp_path, text)
    assert [fault.line for fault in caught.value.faults] == [5, 9]


def test_the_same_price_twice_names_both_lines(tmp_path: Path) -> None:
    """Also where the moment is written with another offset."""
    with pytest.raises(PriceBookError, match=r":9: valid_from: .* at line 1 already"):
        book(tmp_path, ENTRY + ENTRY.replace("2026-01-01T00:00:00Z", "2026-01-01T08:00:00+08:00"))


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Mending a book is one round, not many."""
    with pytest.raises(PriceBookError) as caught:
        book(tmp_path, ENTRY.replace('"1"', "1").replace('"USD"', '"usd"') + "[other]\n")
    assert [fault.field for fault in caught.value.faults] == ["currency", "tiers[0].input", "other"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[prices]\n", r":1: is not TOML"),
        (b"# ok\n# \xff\n", r":2: is not UTF-8"),
        (b"prices = 3\n", r":1: prices: must be a list"),
    ],
)
def test_a_file_that_is_no_price_book_names_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    """Broken TOML, other encodings, other shapes."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(PriceBookError, match=r"broken\.toml" + said):
        PriceBook.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the setting that points to it."""
    with pytest.raises(PriceBookError, match=r"none\.toml: can't be read .*billing\.prices"):
        PriceBook.load(tmp_path / "none.toml")


@pytest.mark.parametrize(("file", "currency"), [("prices.toml", "USD"), ("prices-cny.toml", "CNY")])
def test_the_shipped_books_price_the_shipped_models(file: str, currency: str) -> None:
    """Today's Qwen list prices and the local model, each with its source."""
    prices = PriceBook.load(CONFIG / file)
    for model in ("smollm2-135m", "qwen-max", "qwen-plus", "qwen-turbo"):
        assert prices.currency_for(model) == currency
    assert all(price.source and price.currency == currency for price in prices.prices)
    plus = prices.in_force("qwen-plus", currency, NOON)
    assert plus is not None
    assert plus.tiers[0].output_thinking == {"USD": Decimal(4), "CNY": Decimal(8)}[currency]


def test_the_currency_is_the_workspaces_else_the_bills_else_the_only_one(tmp_path: Path) -> None:
    """Without a price in it, or with a choice that nobody made: 400 `no_price`."""
    both = (
        ENTRY
        + ENTRY.replace("USD", "CNY")
        + ENTRY.replace('"m"', '"n"')
        + ENTRY.replace('"m"', '"late"').replace("2026", "2030")
    )
    free = book(tmp_path, both)
    set_to_cny = book(tmp_path, both, currency="CNY")
    assert set_to_cny.currency_for("m") == "CNY"
    assert set_to_cny.currency_for("m", "USD") == "USD"
    assert free.currency_for("n") == "USD"
    for prices, model, workspace in [
        (free, "m", None),
        (set_to_cny, "n", None),
        (free, "n", "EUR"),
        (free, "late", None),
        (free, "x", None),
    ]:
        with pytest.raises(Refused) as caught:
            prices.currency_for(model, workspace)
        assert (caught.value.code, caught.value.status) == ("no_price", 400)
        assert repr(model) in caught.value.message


def test_models_without_a_price_are_refused_at_start_unless_free(tmp_path: Path) -> None:
    """All of them are named at once."""
    prices = book(tmp_path, ENTRY + ENTRY.replace("USD", "CNY"))
    prices.check_models([("test", True)])
    with pytest.raises(PriceBookError) as caught:
        prices.check_models([("test", True), ("m", False), ("gone", False)])
    assert len(caught.value.faults) == 2
    assert "CNY and USD" in str(caught.value)
    assert "'gone'" in str(caught.value)
    assert "free = true" in str(caught.value)


# -- what was charged stays ------------------------------------------------------------------------

NEW = '[[prices]]\nmodel = "qwen-plus"\ncurrency = "CNY"\nvalid_from = {at}\ntiers = [{{ input = "1", output = "1" }}]\n'


def charged(store: Store, folder: Path) -> None:
    """A task of qwen-plus ended at noon with the first book."""
    prices = book(folder)
    prices.remember(store)
    task = ended()
    end(store, meter(prices), task, [event(task, 1)])


def test_versions_are_remembered_once(store: Store, tmp_path: Path) -> None:
    """Loading the same book again adds nothing; another source is taken over."""
    book(tmp_path).remember(store)
    book(tmp_path, BOOK.replace('"list"', '"catalogue"')).remember(store)
    stored = rows(store, "price_versions")
    assert [row["source"] for row in stored if row["model"] == "qwen-plus"] == ["catalogue"]
    assert len(stored) == 2


def test_an_unused_price_may_be_changed_or_removed(store: Store, tmp_path: Path) -> None:
    """Only what a charge says is history; both versions stay stored."""
    charged(store, tmp_path)
    book(tmp_path, BOOK.replace("0.000003", "0.000004")).remember(store)
    book(tmp_path, BOOK.split('[[prices]]\nmodel = "tiny"')[0]).remember(store)
    assert len(rows(store, "price_versions")) == 3


def test_a_used_price_can_not_be_changed(store: Store, tmp_path: Path) -> None:
    """The line of the edited entry and the stored value are named, configured or not."""
    charged(store, tmp_path)
    for configured in (None, ["qwen-plus"], []):
        with pytest.raises(PriceBookError, match=r"toml:2: prices: a used price can't be changed") as caught:
            book(tmp_path, BOOK.replace('"0.8"', '"0.9"')).remember(store, configured)
        assert (
            'valid_from = 2026-02-24T00:00:00Z, tiers = [{ up_to_input_tokens = 128000, input = "0.8", output = "2"'
            in str(caught.value)
        )
    assert len(rows(store, "price_versions")) == 2, "a refused book is not remembered"


def test_a_used_price_can_not_be_left_out_while_its_model_is_configured(store: Store, tmp_path: Path) -> None:
    """Without the model it may go."""
    charged(store, tmp_path)
    shorter = '[[prices]]\nmodel = "tiny"' + BOOK.split('[[prices]]\nmodel = "tiny"')[1]
    with pytest.raises(
        PriceBookError,
        match=r"left out: charges up to 2026-11-22T12:00:00.123456Z used model = \"qwen-plus\"",
    ):
        book(tmp_path, shorter).remember(store, ["qwen-plus"])
    book(tmp_path, shorter).remember(store, ["tiny"])


def test_a_new_price_in_the_past_must_not_have_been_used(store: Store, tmp_path: Path) -> None:
    """It may begin before the charge only if another price was in force then; and freely after it."""
    charged(store, tmp_path)
    clock = StandingClock(NOON + timedelta(days=9))
    for at in ("2026-03-01T00:00:00Z", "2026-11-22T12:00:00.123456Z"):
        with pytest.raises(PriceBookError, match=r"toml:18: prices: valid_from .* lies before charges"):
            book(tmp_path, BOOK + NEW.format(at=at), clock).remember(store)
    for at in ("2026-01-01T00:00:00Z", "2026-11-22T12:00:00.123457Z", "2026-12-24T00:00:00Z"):
        book(tmp_path, BOOK + NEW.format(at=at), clock).remember(store)


def test_moving_a_used_price_in_time_is_refused(store: Store, tmp_path: Path) -> None:
    """Its old moment is missing, and the moved one would have been used."""
    charged(store, tmp_path)
    moved = BOOK.replace("2026-02-24T00:00:00Z", "2026-02-25T00:00:00Z")
    with pytest.raises(PriceBookError, match=r"toml:2: prices: valid_from 2026-02-25T00:00:00Z lies before"):
        book(tmp_path, moved).remember(store)


def test_in_force_is_half_open(tmp_path: Path) -> None:
    """A price holds from its moment on until the next one's."""
    prices = book(tmp_path, BOOK + NEW.format(at="2026-05-01T00:00:00Z"))
    change = datetime(2026, 5, 1, tzinfo=UTC)
    before = prices.in_force("qwen-plus", "CNY", change - timedelta(microseconds=1))
    after = prices.in_force("qwen-plus", "CNY", change)
    assert before is not None
    assert after is not None
    assert (before.tiers[0].input, after.tiers[0].input) == (Decimal("0.8"), Decimal(1))
    assert prices.in_force("qwen-plus", "CNY", datetime(2026, 2, 23, tzinfo=UTC)) is None
