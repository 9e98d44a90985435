"""The pages of the console and the states they can be in, as a user brings them about."""

import json
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

Act = Callable[[Page], Any]
ASKED = "**/_dash-update-component*"
FOUND_LIMIT = 100
WIDE_PERIOD = "from=now-15d"
PATIENCE_MS = 30_000


@dataclass(frozen=True)
class Scene:
    """A page, and what is done on it before its picture is taken."""

    name: str
    path: str
    act: Act = lambda _: None
    before: Act = lambda _: None
    """Done before the page is opened."""
    whole: bool = True
    """The whole page; else what the window shows, as for dialogues."""
    signed_in: bool = True


def open_scene(page: Page, url: str, scene: Scene) -> None:
    """Goes there and does what the scene is about."""
    scene.before(page)
    page.goto(f"{url}/console/{scene.path}")
    settle(page)
    scene.act(page)
    settle(page)


def settle(page: Page) -> None:
    """Waits until the page is drawn."""
    page.locator("h1").first.wait_for()
    expect(page.locator("#page .skeleton:visible")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.locator("#page[aria-busy]")).to_have_count(0, timeout=PATIENCE_MS)


# -- what is done on a page ----------------------------------------------------------------------------


def press(name: str) -> Act:
    """Presses the first button of a name."""
    return lambda page: page.get_by_role("button", name=name).first.click()


def follow(name: str) -> Act:
    """Follows the first link of a name."""
    return lambda page: page.get_by_role("link", name=name).first.click()


def in_turn(*acts: Act) -> Act:
    """One after the other."""

    def done(page: Page) -> None:
        for act in acts:
            act(page)

    return done


def into_view(title: str, act: Act = lambda _: None) -> Act:
    """Something in a panel, which is then in the window."""

    def done(page: Page) -> None:
        act(page)
        page.get_by_role("region", name=title).first.scroll_into_view_if_needed()

    return done


def dialogue(page: Page) -> Locator:
    """The open one."""
    return page.locator("dialog[open]")


def choose(name: str, text: str) -> Act:
    """A data file is chosen in the create dialogue."""

    def done(page: Page) -> None:
        file = Path(tempfile.mkdtemp()) / name
        file.write_text(text, "utf-8")
        dialogue(page).get_by_label("Data file").set_input_files(file)
        expect(dialogue(page).locator("[data-chosen]")).to_contain_text(name)
        if name.endswith(".csv"):
            dialogue(page).locator("[data-preview] td").first.wait_for()

    return done


def checked(page: Page) -> None:
    """Presses Check and waits for what it says."""
    dialogue(page).get_by_role("button", name="Check", exact=True).click()
    report = dialogue(page).get_by_role("status", name="Result of the check")
    report.wait_for()
    report.scroll_into_view_if_needed()


def hovered(title: str) -> Act:
    """The mouse stands in the middle of a chart."""

    def done(page: Page) -> None:
        plot = page.get_by_role("region", name=title).first.locator(".plot")
        plot.scroll_into_view_if_needed()
        plot.locator(".draglayer .nsewdrag").first.wait_for()
        box = plot.bounding_box()
        if box:
            page.mouse.move(box["x"] + 0.62 * box["width"], box["y"] + box["height"] / 2)

    return done


def fails(part: str) -> Act:
    """A section's callback fails from now on, as if the service had a fault there."""

    def answer(route: Route) -> None:
        if f'"key":"{part}"' not in (route.request.post_data or ""):
            route.continue_()
            return
        told = ["P", {"className": "problem", "role": "alert"}, FAULT]
        place = json.dumps({"key": part, "part": "live"}, separators=(",", ":"))
        route.fulfill(json={"multi": True, "response": {place: {"tree": [told]}}})

    return lambda page: page.route(ASKED, answer)


FAULT = "This could not be shown just now. It is tried again by itself; the log says why."


def unanswered(page: Page) -> None:
    """The service is gone from now on."""
    page.route(ASKED, lambda route: route.abort())
    page.evaluate("() => nightrate.redraw()")
    page.locator("#stale").wait_for()


def key_made(page: Page) -> None:
    """A key is made, as far as the page knows: none is left behind."""
    made = {"secret": "sk-nr-" + "x" * 43, "secret_title": "Key “Nightly job”"}
    page.route("**/console/do/**", lambda route: route.fulfill(json=made))
    page.get_by_label("Key name").fill("Nightly job")
    press("Create key")(page)
    dialogue(page).wait_for()


def wrong_key(page: Page) -> None:
    """A key that is none."""
    page.get_by_label("API key").fill("sk-nr-mistyped")
    press("Sign in")(page)
    page.get_by_role("alert").wait_for()


# -- what is there to be shown -------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """Tasks of the running service, one of each kind that has a look of its own; None where there is none."""

    running: str | None
    faulty: str | None
    """Ended, with failed calls."""
    refused: str | None
    stopped: str | None
    free: str | None
    models: list[str]
    month: str | None
    """One that has charges."""


def found(url: str, key: str) -> Found:
    """Looks what the service has."""
    tasks = list(_tasks(url, key))

    def first(fits: Callable[[Any], bool]) -> str | None:
        return next((task["id"] for task in tasks if fits(task)), None)

    return Found(
        first(lambda t: t["status"] == "in_progress"),
        first(lambda t: t["status"] == "completed" and t["request_counts"]["failed"] > 2),
        first(lambda t: t["status"] == "failed"),
        first(lambda t: t["status"] in ("cancelled", "expired")),
        first(lambda t: t["status"] == "completed" and t["nightrate"]["currency"] is None),
        [model["id"] for model in _asked(url, key, "/v1/models")["data"]],
        first_period(_asked(url, key, "/v1/billing/charges?limit=1")["data"]),
    )


def first_period(charges: list[Any]) -> str | None:
    """The month of the first."""
    return next((charge["period"] for charge in charges), None)


def _tasks(url: str, key: str) -> Iterator[Any]:
    after = ""
    while True:
        page = _asked(url, key, f"/v1/batches?limit={FOUND_LIMIT}{after}")
        yield from page["data"]
        if not page["has_more"]:
            return
        after = f"&after={page['last_id']}"


def _asked(url: str, key: str, path: str) -> Any:
    request = urllib.request.Request(url + path, headers={"authorization": f"Bearer {key}"})  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310  (the service that was named)
        return json.load(answer)


# -- the scenes ----------------------------------------------------------------------------------------


def request_line(number: int, model: str, text: str) -> str:
    """A line of an input file."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 60}
    asked = {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(asked) + "\n"


def _create(model: str) -> Iterator[Scene]:
    opened = press("Create Batch Task")
    good = "".join(request_line(n, model, f"Label this ticket: number {n}") for n in range(1, 1205))
    bad = request_line(1, model, "good") + "{not json\n" + request_line(1, model, "twice")
    bad += '{"custom_id": "r-4", "method": "GET", "url": "/v1/chat/completions", "body": {}}\n'
    table = 'id;topic;question\na1;delivery;"When does it come; and how?"\na2;invoice;Where is my invoice?\n'
    yield Scene("create", "", opened, whole=False)
    yield Scene("create-good", "", in_turn(opened, choose("Tickets.jsonl", good), checked), whole=False)
    yield Scene("create-bad", "", in_turn(opened, choose("Tickets.jsonl", bad), checked), whole=False)
    yield Scene("create-table", "", in_turn(opened, choose("Questions.csv", table), checked), whole=False)


def _tasks_pages(has: Found) -> Iterator[Scene]:
    yield Scene("tasks", "")
    yield Scene("tasks-filtered", "?status=Executing")
    yield Scene("tasks-no-match", "?search=nothing+of+this+name")
    for name in ("running", "faulty", "refused", "stopped", "free"):
        task = getattr(has, name)
        if task:
            yield Scene(f"task-{name}", f"tasks/{task}")
    if has.running:
        yield Scene("task-cancel", f"tasks/{has.running}", press("Cancel Task"), whole=False)
    if has.faulty:
        yield Scene("task-clone", f"tasks/{has.faulty}", press("Clone"), whole=False)
    if has.refused:
        shown = lambda page: page.locator("button[data-reads]").first.click()  # noqa: E731
        yield Scene("task-line", f"tasks/{has.refused}", shown, whole=False)


def _models_pages(has: Found) -> Iterator[Scene]:
    custom = "from=2020-01-01T00:00:00&to=2020-01-02T00:00:00"
    yield Scene("observation", f"observation?{WIDE_PERIOD}")
    yield Scene("observation-all-columns", f"observation?{WIDE_PERIOD}&columns=all&sort=-failure_rate")
    yield Scene("observation-refused", f"observation?{custom}")
    for model in has.models[:1]:
        page = f"monitor/{model}?{WIDE_PERIOD}"
        yield Scene("monitor", page)
        yield Scene("monitor-hover", page, hovered("Call duration"), whole=False)
        yield Scene("monitor-table", f"{page}&table=duration")
        yield Scene("monitor-minutes", f"monitor/{model}?from=now-24h&precision=minute")


def _billing_pages(has: Found) -> Iterator[Scene]:
    page = f"billing?month={has.month}" if has.month else "billing"
    yield Scene("billing", page)
    yield Scene("billing-drilled", page, follow("Charges"))
    yield Scene("billing-nothing", "billing?month=2020-01")


def _other_states() -> Iterator[Scene]:
    yield Scene("login", "login", signed_in=False)
    yield Scene("login-wrong", "login", wrong_key, signed_in=False)
    yield Scene("settings", "settings")
    yield Scene("settings-secret", "settings", key_made, whole=False)
    yield Scene("section-failed", f"observation?{WIDE_PERIOD}", before=fails("models"))
    yield Scene("stale", "", unanswered)
    yield Scene("no-page", "nowhere")
    yield Scene("no-task", "tasks/batch_of_nobody")


def scenes(has: Found) -> list[Scene]:
    """Everything that a service with something in it can show."""
    asked = has.models[0] if has.models else "none"
    groups = (_tasks_pages(has), _create(asked), _models_pages(has), _billing_pages(has), _other_states())
    return [scene for group in groups for scene in group]


def blank_scenes(has: Found) -> list[Scene]:
    """What a new installation shows."""
    pages = ("", "observation", "billing", "settings", *(f"monitor/{model}" for model in has.models[:1]))
    return [Scene(f"blank-{page.partition('/')[0] or 'tasks'}", page) for page in pages]
