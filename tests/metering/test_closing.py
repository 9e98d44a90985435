import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.access import ADMIN, Access
from metering.errors import Conflict, Forbidden, InvalidParameter, NotFound, Refused
from metering.statement import LineSums, differences
from metering.statements import Statements
from metering.verification import Verification
from tests.metering.billed import UNMETERED
from tests.metering.books import Rig

SEPTEMBER, OCTOBER, NOVEMBER = (datetime(2026, month, 20, tzinfo=UTC) for month in (9, 10, 11))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Tasks of two workspaces in September and of one in October; now it is November."""
    made = Rig(tmp_path, SEPTEMBER)
    for name in ("default", "ws_a"):
        made.workspace(name)
        made.task({}, UNMETERED, workspace_id=name)
    made.task(workspace_id="ws_a", model="tiny", currency="USD")
    made.clock.now = OCTOBER
    made.task(workspace_id="ws_a")
    made.clock.now = NOVEMBER
    yield made
    made.store.close()


def test_closing_freezes_with_numbers_without_gaps(rig: Rig) -> None:
    """Over all workspaces, currencies and months; what was drafted is what is final."""
    drafts = rig.statements.of(ADMIN, "2026-09")
    closed = rig.closing.close(ADMIN, "2026-09")
    rig.closing.close(ADMIN, "2026-10")
    final = rig.statements.of(ADMIN, "2026-09")
    assert [one["number"] for one in final] == ["NR-000001", "NR-000002", "NR-000003"]
    assert rig.statements.of(ADMIN, "2026-10")[0]["number"] == "NR-000004"
    changed = {"number": None, "status": "draft", "sha256": None}
    assert [{**one, **changed} for one in final] == drafts
    assert [list(one) for one in final] == [list(one) for one in drafts]
    assert [list(line) for one in final for line in one["lines"]] == [
        list(line) for one in drafts for line in one["lines"]
    ]
    assert [one["sha256"] for one in closed["statements"]] == [one["sha256"] for one in final]
    assert (closed["status"], closed["ends_at"]) == ("closed", "2026-10-01T00:00:00Z")


def test_the_hash_is_of_the_canonical_form(rig: Rig) -> None:
    """Anybody can compute it: the JSON without `sha256`, keys sorted, no spaces."""
    rig.closing.close(ADMIN, "2026-09")
    for final in rig.statements.of(ADMIN, "2026-09"):
        said = final.pop("sha256")
        text = json.dumps(final, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert said == hashlib.sha256(text.encode()).hexdigest()


def test_a_final_statement_keeps_the_names_of_its_day(rig: Rig) -> None:
    """A renamed workspace, another issuer and later corrections change nothing of it."""
    rig.closing.close(ADMIN, "2026-09")
    before = rig.statements.of(ADMIN, "2026-09")
    rig.store.write(lambda tx: tx._connection.execute("UPDATE workspaces SET name = 'Renamed'"))
    rig.corrections.correct(ADMIN, rig.charges()[0]["charge_id"], "wrong")
    assert rig.statements.of(ADMIN, "2026-09") == before
    assert rig.verification.verify(ADMIN, "2026-09")["verified"]
    by_key = rig.statements.of(ADMIN, "2026-09", by_api_key=True)
    assert [one["sha256"] for one in by_key] == [one["sha256"] for one in before]
    assert {line["api_key_id"] for one in by_key for line in one["lines"]} == {"key_1"}


@pytest.mark.parametrize(
    ("period", "error", "code"),
    [
        ("2026-11", InvalidParameter, "period_not_over"),
        ("2026-12", InvalidParameter, "period_not_over"),
        ("2026-10", Conflict, "period_out_of_order"),
        ("2026-13", InvalidParameter, "invalid_value"),
        ("today", InvalidParameter, "invalid_value"),
    ],
)
def test_what_can_not_be_closed_says_why(rig: Rig, period: str, error: type[Refused], code: str) -> None:
    """The running month, a later one, one before its turn, what is no month; nothing is written."""
    with pytest.raises(error) as refused:
        rig.closing.close(ADMIN, period)
    assert (refused.value.param, refused.value.code) == ("period", code)
    assert all(one["closed_at"] is None for one in rig.closing.periods(ADMIN).data)


def test_a_month_is_closed_once_and_in_order(rig: Rig) -> None:
    """A second time, an earlier one and a skipped one are conflicts that name the next in turn."""
    rig.closing.close(ADMIN, "2026-08")  # nothing is in it: it may be the first
    for period, code in (
        ("2026-08", "period_closed"),
        ("2026-10", "period_out_of_order"),
        ("2026-07", "period_out_of_order"),
    ):
        with pytest.raises(Conflict) as refused:
            rig.closing.close(ADMIN, period)
        assert refused.value.code == code
    rig.closing.close(ADMIN, "2026-09")
    assert rig.statements.of(ADMIN, "2026-09")[0]["number"] == "NR-000001"


def test_only_the_admin_closes(rig: Rig) -> None:
    """Whatever the month is."""
    with pytest.raises(Forbidden):
        rig.closing.close(Access("ws_a", "key"), "2026-09")


def test_nothing_enters_a_closed_month(rig: Rig) -> None:
    """Even if the clock goes back: what ends then is dated after it."""
    rig.closing.close(ADMIN, "2026-09")
    rig.clock.now = SEPTEMBER
    rig.task()
    assert {row["period"] for row in rig.charges()} == {"2026-09", "2026-10", "2026-11"}
    assert rig.charges()[-1]["ended_at"] == "2026-11-20T00:00:00Z"
    assert rig.verification.verify(ADMIN, "2026-09")["verified"]


def test_a_month_ends_in_the_billing_zone(tmp_path: Path) -> None:
    """In New York it is over five hours after it is in London, four before clocks change."""
    rig = Rig(tmp_path, datetime(2026, 12, 1, 4, 59, 59, tzinfo=UTC), "America/New_York")
    with pytest.raises(InvalidParameter, match="2026-12-01T05:00:00Z"):
        rig.closing.close(ADMIN, "2026-11")
    rig.clock.advance(seconds=1)
    closed = rig.closing.close(ADMIN, "2026-11")
    assert (closed["starts_at"], closed["ends_at"]) == ("2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z")
    assert closed["statements"] == []
    rig.store.close()


def test_periods_tell_where_each_month_stands(rig: Rig) -> None:
    """Newest first, from the first with anything in it; a workspace sees its own statements' numbers."""
    rig.closing.close(ADMIN, "2026-09")
    seen = rig.closing.periods(ADMIN).data
    assert [(one["period"], one["status"]) for one in seen] == [
        ("2026-11", "running"),
        ("2026-10", "open"),
        ("2026-09", "closed"),
    ]
    assert [len(one["statements"]) for one in seen] == [0, 0, 3]
    own = rig.closing.periods(Access("ws_a", "key")).data
    assert {row["workspace_id"] for one in own for row in one["statements"]} == {"ws_a"}
    assert [one["period"] for one in rig.closing.periods(ADMIN, limit=1, after="2026-11").data] == ["2026-10"]
    with pytest.raises(NotFound):
        rig.closing.periods(ADMIN, after="2020-01")


DAMAGES = [
    ("UPDATE charges SET amount = amount + 1 WHERE period = '2026-09'", "exact_amount"),
    ("UPDATE charges SET requests = 7 WHERE period = '2026-09' AND sku = 'input_tokens'", "line 1"),
    ("DELETE FROM charges WHERE period = '2026-09' AND workspace_id = 'default'", "lines"),
    ("UPDATE charges SET period = '2026-09' WHERE period = '2026-10'", "line 1"),
    ("UPDATE task_rollups SET unmetered = 5", "unmetered_requests"),
    ('UPDATE statements SET canonical = replace(canonical, \'"payable":"\', \'"payable":"9\')', "payable"),
    ("UPDATE statements SET canonical = replace(canonical, 'House', 'Horse')", "sha256"),
    ("UPDATE statements SET sha256 = 'ab'", "sha256"),
    ("UPDATE statements SET number = 'NR-000009' WHERE serial = 2", "gaps"),
    ("DELETE FROM statements WHERE serial = 2", "missing"),
    ("UPDATE statements SET canonical = ' ' || canonical", "canonical form"),
]


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_verification_finds_every_damage(rig: Rig, damage: str, named: str) -> None:
    """Whether the ledger or the frozen statement was changed behind the service's back."""
    rig.closing.close(ADMIN, "2026-09")
    assert rig.verification.verify(ADMIN, "2026-09")["verified"]
    rig.store.write(lambda tx: tx._connection.execute(damage))
    found = rig.verification.verify(ADMIN, "2026-09")["differences"]
    assert any(named in said for said in found), found


def test_settings_of_today_are_no_difference(tmp_path: Path) -> None:
    """A workspace with free requests only may take another currency, name and issuer later on."""
    rig = Rig(tmp_path, SEPTEMBER)
    rig.workspace("default", currency="EUR")
    rig.task({}, UNMETERED, model="gift", currency=None, free=True)
    rig.clock.now = OCTOBER
    rig.closing.close(ADMIN, "2026-09")
    rig.store.write(lambda tx: tx._connection.execute("UPDATE workspaces SET currency = 'USD', name = 'New'"))
    rig.billing = rig.billing.model_copy(update={"issuer_name": "Heirs", "currency": "CNY"})
    years_later = Verification(rig.store, Statements(rig.store, rig.billing), rig.billing.zone)
    assert years_later.verify(ADMIN, "2026-09")["differences"] == []
    assert years_later.closed() == ["2026-09"]
    rig.store.close()


def test_only_the_admin_verifies(rig: Rig) -> None:
    """The figures are those of all workspaces."""
    rig.closing.close(ADMIN, "2026-09")
    with pytest.raises(Forbidden):
        rig.verification.verify(Access("ws_a", "key"), "2026-09")


def test_a_month_that_is_open_can_not_be_verified(rig: Rig) -> None:
    """There is nothing frozen to compare."""
    with pytest.raises(Conflict, match="is not closed"):
        rig.verification.verify(ADMIN, "2026-10")


def test_a_final_statement_is_proved_by_exported_charges_alone(rig: Rig) -> None:
    """Years later, without the database; a changed byte on either side is found."""
    rig.closing.close(ADMIN, "2026-09")
    for final in json.loads(json.dumps(rig.statements.of(ADMIN, "2026-09"))):
        own = [
            row
            for row in rig.charges(period="2026-09", workspace_id=final["workspace_id"])
            if row["currency"] == final["currency"]
        ]
        assert differences(final, LineSums(own)) == []
        assert differences({**final, "customer": "Somebody"}, LineSums(own))
        assert differences(final, LineSums([{**own[0], "amount": "1"}, *own[1:]]))
        assert differences(final, LineSums(own[1:]))
