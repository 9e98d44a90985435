"""How fast the console is with much behind it, beside its own empty pages and an idle service.

    python -m benchmarks.browser [--tasks 5000 --calls-per-task 10000] [--folder kept]

Fills a data folder as benchmarks/console.py does (`--folder` keeps it), starts the real service on them and opens the console in a real
browser. Prints the time to the first figure of each page and after a change of filter, the largest answer, what a
hidden tab asks for, and the processor time of consoles that nobody touches. The references are the login page,
which shows no data, and the same service without a console. Judges nothing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Error, Page, Response, sync_playwright

from benchmarks.console import LISTED, PRICES, filled
from benchmarks.surroundings import ADMIN_KEY, Server, our_server

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAGES = {
    "list of tasks": ("", "tr[data-id]"),
    "Model observation, 15 days": ("observation?from=now-15d", "tr[data-id]"),
    "Monitor, 15 days by hour": ("monitor/model-3?from=now-15d", "[data-metric]"),
    "Monitor's first chart": ("monitor/model-3?from=now-15d", ".js-plotly-plot .trace"),
    "Monitor's first chart, a day by minute": (
        "monitor/model-3?from=now-24h&precision=minute",
        ".js-plotly-plot .trace",
    ),
    "a task": ("{task}", "[data-metric]"),
    "a task's chart": ("{task}", ".js-plotly-plot .point"),
    "Billing": ("billing", "[data-metric]"),
    "Billing's first chart": ("billing", ".js-plotly-plot .trace, .js-plotly-plot .point"),
    "Settings": ("settings", "tr[data-id]"),
}
CHANGES: dict[str, tuple[str, str, str, str]] = {
    "list of tasks, by workspace": ("", "Workspace", "ws_3", ".of-tasks"),
    "observation, by workspace": ("observation?from=now-15d", "Workspace", "ws_3", ".of-models"),
    "observation, other period": ("observation?from=now-15d", "Period", "now-7d", ".of-models"),
    "billing, by workspace": ("billing", "Workspace", "ws_3", ".of-billing-totals"),
    "monitor, other period": ("monitor/model-3?from=now-7d", "Period", "now-3d", ".of-chart-calls"),
}
"""Page, field, value, and the section that must be drawn anew."""


@contextmanager
def signed_in(browser: Browser, url: str) -> Iterator[Page]:
    """A browser of its own with a session, whose scripts are in its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/console/login")
    page.get_by_label("API key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("tr[data-id]")
    yield page
    context.close()


SEEN = """selector => new Promise(done => {
  const look = () => { const found = document.querySelector(selector); if (found) requestAnimationFrame(() => done(performance.now())); return found; };
  if (!look()) new MutationObserver((_, watching) => look() && watching.disconnect()).observe(document, { childList: true, subtree: true });
})"""
CHANGED = """([name, value, selector]) => new Promise(done => {
  const field = Array.from(document.querySelectorAll("label")).find(label => label.textContent.startsWith(name)).querySelector("select");
  const place = document.querySelector(selector), begun = performance.now();
  const drawn = () => requestAnimationFrame(() => done(performance.now() - begun));
  const watching = new MutationObserver(() => { watching.disconnect(); drawn(); });
  watching.observe(place, { childList: true, subtree: true, characterData: true });
  field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
})"""


def first_figure(page: Page, url: str, path: str, selector: str) -> float:
    """Milliseconds from the start of a navigation to the frame that shows the first figure."""
    page.goto(f"{url}/console/{path}", wait_until="commit")
    taken: float = page.evaluate(SEEN, selector)
    page.wait_for_load_state("networkidle")
    return taken


def change(page: Page, url: str, change_: tuple[str, str, str, str]) -> float:
    """Milliseconds from a changed filter to the frame that shows what it asks for."""
    path, field, value, selector = change_
    page.goto(f"{url}/console/{path}")
    page.wait_for_selector("tr[data-id], .js-plotly-plot .trace")
    page.wait_for_load_state("networkidle")
    taken: float = page.evaluate(CHANGED, [field, value, selector])
    page.wait_for_load_state("networkidle")
    return taken


def sizes(page: Page, walk: Callable[[], object]) -> list[tuple[int, int]]:
    """Bytes of each callback's answer, unpacked and on the wire."""
    got: list[tuple[int, int]] = []

    def note(answer: Response) -> None:
        if "_dash-update-component" in answer.url and answer.status == 200:
            with suppress(Error):  # the page was left before it came
                got.append((len(answer.body()), int(answer.headers.get("content-length", "0"))))

    page.on("response", note)
    walk()
    page.remove_listener("response", note)
    return got


def share_of_a_core(server: Server, seconds: float) -> float:
    """Per cent of one core that the service takes from now on."""
    before, begun = server.cpu_seconds(), time.perf_counter()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / (time.perf_counter() - begun) * 100


def hidden(page: Page, seconds: float) -> int:
    """How many questions a tab asks after it was hidden."""
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { value: true }); document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_load_state("networkidle")  # what was asked before comes to its end
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(seconds * 1000)
    return len(asked)


def measure(server: Server, browser: Browser, options: argparse.Namespace) -> None:
    """All figures of one run."""
    url, times = server.url, options.times
    some = server.session.get(
        f"{url}/v1/batches", params={"status": "completed", "limit": 1}, timeout=60
    ).json()
    pages = {
        name: (path.format(task=f"tasks/{some['data'][0]['id']}"), shown)
        for name, (path, shown) in PAGES.items()
    }
    alone = share_of_a_core(server, options.seconds)
    with signed_in(browser, url) as page:
        first = {
            name: median(first_figure(page, url, *where) for _ in range(times))
            for name, where in pages.items()
        }
        changed = {
            name: median(change(page, url, what) for _ in range(times)) for name, what in CHANGES.items()
        }
        got = sizes(page, lambda: [first_figure(page, url, *where) for where in pages.values()])
    with browser.new_context() as fresh:
        login = median(first_figure(fresh.new_page(), url, "login", "#api_key") for _ in range(times))
    with signed_in(browser, url) as one, signed_in(browser, url) as other:
        other.goto("about:blank")
        with_one = share_of_a_core(server, options.seconds)
        other.goto(f"{url}/console/")
        other.wait_for_load_state("networkidle")
        with_two = share_of_a_core(server, options.seconds)
        asked = hidden(one, 5)
    say(first, changed, login)
    print(f"  {'largest answer of a callback, unpacked':<44}{max(a for a, _ in got) / 1000:>9.1f} kB")
    print(f"  {'largest answer of a callback, on the wire':<44}{max(b for _, b in got) / 1000:>9.1f} kB")
    print(f"  {'requests of a hidden tab in 5 s':<44}{asked:>9}")
    print(f"  {'service without a console':<44}{alone:>9.2f} % of a core")
    print(f"  {'an idle console adds':<44}{with_one - alone:>9.2f} % of a core")
    print(f"  {'a second idle console adds':<44}{with_two - with_one:>9.2f} % of a core")


def say(first: dict[str, float], changed: dict[str, float], login: float) -> None:
    """The times, with those of the login page beside them."""
    print(f"  {'login page, no data (reference)':<44}{login:>9.0f} ms")
    for name, milliseconds in first.items():
        print(f"  {f'first figure: {name}':<44}{milliseconds:>9.0f} ms")
    for name, milliseconds in changed.items():
        print(f"  {f'filter: {name}':<44}{milliseconds:>9.0f} ms")


def main() -> None:
    """Fills, asks, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--others", type=int, default=7000, help="tasks that failed validation")
    parser.add_argument("--calls-per-task", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--folder", type=Path, help="keeps the data there, or finds it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        filled(folder, options.tasks, options.calls_per_task, options.others).store.close()
        with (
            our_server(folder, "http://127.0.0.1:9/v1", 1, models=LISTED, prices=PRICES) as server,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            print(
                f"\n{options.tasks:,} ended tasks with {options.tasks * options.calls_per_task:,} calls over 15 days; medians"
            )
            measure(server, browser, options)
            browser.close()


if __name__ == "__main__":
    main()
