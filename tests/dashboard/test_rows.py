"""Rows of the pages: order, sums and hooks."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import parts
from dashboard.bill import by_tier
from dashboard.modeltable import FIGURES, SORTS, amounts_of, csv_of, grouped
from dashboard.sheet import sheet
from dashboard.spendcharts import by_day, days_of, spend_charts
from dashboard.tasklist import STATUSES_OF
from dashboard.theme import LIGHT
from dashboard.timeline import lengths, steps_of
from executor.tasks import STATUSES, Task
from metering.api.statistics_shapes import ModelStatistics

NOW = datetime(2026, 11, 22, 14, tzinfo=UTC)


def row(model: str, workspace: str, calls: int, amount: str | None = "1") -> dict[str, Any]:
    currency = "USD" if amount is not None else None
    return {
        "model": model,
        "workspace_id": workspace,
        "currency": currency,
        "calls": calls,
        "amount": amount or "0",
        "list_amount": amount or "0",
    }


SUMS = {"shared": {"model": "shared", "calls": 30}}


def test_a_model_of_two_workspaces_is_led_by_its_sums() -> None:
    """Its id stands once, on the sums; the order is that of the sums, and within them that of the parts."""
    rows = [row("big", "a", 25), row("shared", "a", 10), row("shared", "b", 20)]
    groups = grouped(rows, SUMS, "-calls")
    assert [g[0]["model"] for g in groups] == ["shared", "big"]
    assert [r["workspace_id"] for r in groups[0]] == [None, "b", "a"]
    assert amounts_of(groups[0][0], "amount") == [("USD", Decimal(2))]


def test_money_is_sorted_by_amount_and_free_models_come_last() -> None:
    """By value and not by text."""
    rows = [row("a", "w", 1, "9"), row("b", "w", 3, "10.5"), row("free", "w", 2, None)]
    assert [g[0]["model"] for g in grouped(rows, {}, "-amount")] == ["b", "a", "free"]
    assert [g[0]["model"] for g in grouped(rows, {}, "-calls")] == ["b", "free", "a"]
    assert amounts_of(rows[2], "amount") == []


def test_every_figure_of_the_api_is_a_column() -> None:
    """Each of SPEC §6.1 can be shown, sorted by, and had as CSV."""
    fields = {f.field for f in FIGURES}
    assert fields == set(ModelStatistics.model_fields) - {"model", "workspace_id", "currency"}
    assert fields | {"model"} == SORTS
    whole = {**dict.fromkeys(ModelStatistics.model_fields, 0), "model": "m", "currency": None}
    head, line = csv_of([whole]).split("\r\n")[:2]
    assert head.startswith("model,workspace_id,currency,calls,")
    assert line.startswith("m,0,,0,")


def test_a_month_has_all_its_days_up_to_today() -> None:
    """Days without a charge are zero, and no day lies ahead."""
    days = days_of("2026-11", NOW.date())
    assert (days[0], days[-1]) == (date(2026, 11, 1), date(2026, 11, 22))
    assert len(days_of("2026-02", NOW.date())) == 28
    rows = [{"model": "m", "day": "2026-11-02", "currency": "USD", "amount": "0.5"}]
    assert by_day(rows, days)["m"][:3] == [Decimal(0), Decimal("0.5"), Decimal(0)]


def test_charged_and_saved_make_the_list_price() -> None:
    """Day by day, as picture and as rows; corrections of earlier months are named, since no day has them."""
    amounts = [("a", "2026-11-02", "1"), ("b", "2026-11-02", "0.5"), ("a", "2026-10-30", "-0.25")]
    rows: list[dict[str, Any]] = [
        {
            "model": model, "day": day, "currency": "USD", "amount": amount,
            "discount_amount": amount, "list_amount": str(2 * Decimal(amount)),
        }
        for model, day, amount in amounts
    ]  # fmt: skip
    [(cost, saved)] = spend_charts(rows, "2026-11", NOW.date(), ZoneInfo("UTC"), LIGHT)
    assert (cost.key, saved.key) == ("cost-USD", "saved-USD")
    assert saved.columns == ("Day", "Real-time price", "Charged", "Saved")
    assert saved.rows[1] == ("2026-11-02", "3", "1.5", "1.5")
    assert all(Decimal(r[1]) == Decimal(r[2]) + Decimal(r[3]) for r in saved.rows)
    assert "corrections of earlier months, USD -0.25" in saved.note


def test_every_status_belongs_to_one_word_of_the_console() -> None:
    """So that the filter finds every task."""
    assert sorted(s for statuses in STATUSES_OF.values() for s in statuses) == sorted(STATUSES)
    assert STATUSES_OF["Executing"] == ("in_progress", "finalizing")
    assert STATUSES_OF["Stopped"] == ("expired", "cancelled")


def task(**times: datetime) -> Task:
    names = Task.__dataclass_fields__
    values: dict[str, Any] = {**dict.fromkeys(names), "id": "batch_1", "created_at": NOW, "errors": ()}
    return Task(**{**values, **times})


def test_the_timeline_shows_what_was_and_what_lies_ahead() -> None:
    """A step without a time lies ahead; a cancelled task never completes."""
    running = steps_of(task(in_progress_at=NOW))
    assert [(word, at is not None) for word, at in running] == [
        ("Created, validating", True), ("Executing", True), ("Writing results", False), ("Completed", False),
    ]  # fmt: skip
    assert lengths(steps_of(task(in_progress_at=NOW + timedelta(seconds=90)))) == ["90.00 s", "", "", ""]
    assert steps_of(task(failed_at=NOW))[-1] == ("Failed", NOW)
    later = NOW + timedelta(minutes=1)
    assert steps_of(task(cancelling_at=NOW, cancelled_at=later))[-1] == ("Stopped: cancelled", later)


def test_hooks_carry_exact_values() -> None:
    """A card's `data-value` and a cell's are the API's strings; progress counts succeeded and failed."""
    card = parts.card("Charged", "amount", Decimal("0.000000000000001"), "USD 0.00")
    assert card.children[1].to_plotly_json()["props"]["data-value"] == "0.000000000000001"
    drawn = parts.progress(3, 1, 8)
    assert drawn.children[0] == "4 / 8"
    made = parts.row("batch_1", [], status="in_progress", completed=3).to_plotly_json()["props"]
    assert (made["data-id"], made["data-status"], made["data-completed"]) == ("batch_1", "in_progress", "3")


def test_a_file_for_people_runs_nothing() -> None:
    """A model may be called like a formula; a negative amount stays a number."""
    text = sheet(("Day", "=cmd|' /C calc'!A0"), [("2026-11-02", "-0.25"), ("+1", "1")], texts=1)
    assert text == "Day,'=cmd|' /C calc'!A0\r\n2026-11-02,-0.25\r\n'+1,1\r\n"


def test_a_bill_goes_up_from_the_lowest_tier() -> None:
    """By number and not by digits; the tier without a bound is last, a correction stands behind what it corrects."""
    names = ("tier", "mode", "sku", "kind", "recorded_at")
    rows = [
        ("128000", "standard", "input_tokens", "usage", "1"),
        ("128000", "standard", "input_tokens", "correction", "2"),
        ("128000", "standard", "output_tokens", "usage", "1"),
        ("128000", "thinking", "input_tokens", "usage", "1"),
        ("256000", "standard", "input_tokens", "usage", "1"),
        ("1000000", "standard", "input_tokens", "usage", "1"),
        ("over", "standard", "input_tokens", "usage", "1"),
    ]
    charges = [{**dict(zip(names, one, strict=True)), "charge_id": str(n)} for n, one in enumerate(rows)]
    assert by_tier(reversed(charges)) == charges
