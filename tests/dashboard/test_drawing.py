"""How a page is drawn: sections on their own, nothing again that is the same, one answer for many."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dashboard import drawing, views
from dashboard.app import news
from dashboard.drawing import FAILED, at_moment, moment_of, section
from dashboard.filters import Address, PeriodView
from dashboard.period import ends, span, told
from dashboard.recall import Recall
from dashboard.theme import LIGHT
from dashboard.viewer import Viewer
from dashboard.views import View
from metering.access import ADMIN
from metering.errors import InvalidParameter

NOW = datetime(2026, 11, 22, 14, 30, 15, tzinfo=UTC)
VIEWER = Viewer(ADMIN, LIGHT, "UTC", "", NOW)
HERE = Address("/observation", {"from": "now-1h"})


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A page of sections that a test puts in."""
    sections: dict[str, Any] = {}
    view = View(lambda *_: ["head"], sections, 1000, lambda services, *_: str(services.state))
    for module in (drawing, views):
        monkeypatch.setattr(module, "view_of", lambda *_: view)
    return sections


def services(state: int = 1) -> Any:
    return SimpleNamespace(state=state, recall=Recall(8))


def test_a_section_that_fails_leaves_the_rest(page: dict[str, Any]) -> None:
    """It says so and is tried again; a refusal says what is allowed."""

    def broken(*_: Any) -> list[Any]:
        raise RuntimeError("a bug")

    def refused(*_: Any) -> list[Any]:
        raise InvalidParameter("Not before the 7th.", param="start")

    page.update(good=lambda *_: ["fine"], broken=broken, refused=refused)
    world = services()
    moment = moment_of(world, VIEWER, HERE, asked=True)

    def drawn(key: str) -> Any:
        found = section(world, VIEWER, moment, key)
        assert found is not None
        return found.tree[0]

    assert section(world, VIEWER, moment, "unknown") is None
    assert drawn("good") == "fine"
    assert drawn("broken")[1]["data-again"] == ""
    assert drawn("broken")[2] == FAILED
    assert drawn("refused")[2] == "Not before the 7th."
    page["broken"] = lambda *_: ["mended"]
    assert drawn("broken") == "mended"


def test_the_same_page_is_drawn_once_for_all_who_look(page: dict[str, Any]) -> None:
    """Until something changed; another theme, zone or caller sees another page."""
    drawn: list[Viewer] = []
    page["tasks"] = lambda _, viewer, __: drawn.append(viewer) or ["row"]
    world = services()
    moment = moment_of(world, VIEWER, HERE, asked=True)
    for _ in range(3):
        section(world, VIEWER, moment, "tasks")
    assert len(drawn) == 1
    section(world, replace(VIEWER, zone_name="Asia/Tokyo"), moment, "tasks")
    section(world, replace(VIEWER, access=replace(ADMIN, workspace_id="ws_1")), moment, "tasks")
    assert len(drawn) == 3
    world.state = 2
    section(world, VIEWER, moment_of(world, VIEWER, HERE, asked=True), "tasks")
    assert len(drawn) == 4


def test_one_s_own_change_is_seen_at_once_while_tasks_run() -> None:
    """The many commits of tasks are looked at some seconds apart; what somebody does and then asks for is of now."""
    world, address = SimpleNamespace(busy=lambda: True, commits=1), Address("/billing")
    world.revision = lambda: world.commits

    def version(asked: bool) -> Any:
        return moment_of(world, VIEWER, address, asked=asked)["version"]  # type: ignore[arg-type]

    before = version(True), version(False)
    world.commits = 2
    assert version(True) != before[0]
    assert version(False) == before[1]


def test_nothing_is_sent_as_long_as_nothing_changed() -> None:
    """A look that finds the same moment answers nothing; another query keeps the frame, another path does not."""
    before = {"href": HERE.href, "path": HERE.path, "now": "then", "version": "1"}
    same = {**before, "now": "now"}
    nothing = news(VIEWER, HERE, before, same, forced=False)
    assert type(nothing[0]).__name__ == type(nothing[1]).__name__ == "NoUpdate"
    changed = {**same, "version": "2"}
    assert news(VIEWER, HERE, before, changed, forced=False)[1] == changed
    assert news(VIEWER, HERE, before, same, forced=True)[1] == same
    elsewhere = Address("/billing")
    assert news(VIEWER, elsewhere, before, {**same, "path": "/billing"}, forced=False)[0].children


def test_all_sections_are_of_one_moment() -> None:
    """The browser hands it on; a moment that is not of just now is not taken."""
    told_now = NOW - timedelta(seconds=5)
    assert at_moment(VIEWER, {"now": told_now.isoformat(), "version": "7"}).now == told_now
    for wrong in ("2020-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00", "2026-11-22T14:30:10", "x", None):
        assert at_moment(VIEWER, {"now": wrong, "version": "7"}) == VIEWER


def test_what_many_ask_for_is_worked_out_once() -> None:
    """Whoever comes while it is worked out waits for it; what failed is worked out anew."""
    recall, begun, go = Recall(2), threading.Event(), threading.Event()
    asked, got = [], []

    def slow() -> str:
        asked.append(1)
        begun.set()
        assert go.wait(60)
        return "answer"

    threads = [threading.Thread(target=lambda: got.append(recall.once("k", slow))) for _ in range(3)]
    threads[0].start()
    assert begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(60)
    assert (got, len(asked)) == (["answer"] * 3, 1)
    with pytest.raises(ZeroDivisionError):
        recall.once("fails", lambda: 1 // 0)
    assert recall.once("fails", lambda: 2) == 2
    assert [recall.once(n, lambda: "new") for n in range(3)] == ["new"] * 3
    assert recall.once("k", lambda: "worked out again") == "worked out again"


def test_a_period_is_shown_to_the_second_in_its_zone() -> None:
    """In the fields and in words; an end that lies ahead is now."""
    view = PeriodView("now-1h", "2026-11-23T00:00:00", "Asia/Shanghai", None)
    assert ends(VIEWER, view, ZoneInfo("Asia/Shanghai")) == ("2026-11-22T21:30:15", "2026-11-22T22:30:15")
    assert ends(VIEWER, replace(view, start="soon"), ZoneInfo("UTC")) == ("", "")
    words = told(VIEWER, replace(view, end="now"), compared=True).children
    assert words.startswith("22 Nov 2026, 21:30:15 – 22 Nov 2026, 22:30:15 (Asia/Shanghai), compared")
    assert [span(timedelta(**t)) for t in ({"days": 7}, {"hours": 6}, {"minutes": 59, "seconds": 59})] == [
        "7 days", "6 hours", "hour",
    ]  # fmt: skip
