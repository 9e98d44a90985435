"""Pictures of every page of a running console, in both themes and at two widths.

    .venv/bin/python scripts/screenshots.py --url http://127.0.0.1:8000 --key "$(cat data/admin.key)" --out /tmp/pictures

Look at each of them. A page that is wider than its window, or asks another host, is reported: exit code 1.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
THEMES = ("light", "dark")
WIDTHS = (1280, 390)
SETTLE_MS = 1500
PAGES = ("", "observation?from=now-7d", "billing", "settings")


@dataclass(frozen=True)
class Shot:
    """One picture to be taken."""

    path: str
    theme: str
    width: int

    @property
    def name(self) -> str:
        """The picture's file name."""
        page = self.path.partition("?")[0].replace("/", "-")[:20] or "tasks"
        return f"{page}-{self.theme}-{self.width}.png"


def sign_in(page: Page, url: str, key: str) -> None:
    """Opens a session."""
    page.goto(f"{url}/console/login")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("h1")


def found_pages(page: Page, url: str) -> Iterator[str]:
    """The pages of the first failed task, the first ended one and the first model, if there are any."""
    page.wait_for_selector("[data-id], .empty")
    for status in ("completed", "failed"):
        row = page.query_selector(f'tr[data-status="{status}"]')
        if row is not None:
            yield f"tasks/{row.get_attribute('data-id')}"
    page.goto(f"{url}/console/observation?from=now-15d")
    page.wait_for_selector("[data-id], .empty")
    link = page.query_selector("a:text-is('Monitor')")
    if link is not None:
        yield str(link.get_attribute("href")).removeprefix("/console/")


def take(page: Page, url: str, shot: Shot, out: Path, wrong: list[str]) -> None:
    """Takes one picture and notes a page that is too wide."""
    page.goto(f"{url}/console/{shot.path}")
    page.wait_for_selector("h1")
    page.wait_for_timeout(SETTLE_MS)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if wide > 0:
        wrong.append(f"{shot.name} is {wide} px wider than its window")
    page.screenshot(path=out / shot.name, full_page=True)


def tour(
    browser: Browser, url: str, key: str, look: tuple[str, int], paths: list[str], out: Path
) -> list[str]:
    """Every page in one theme and width; gives what is wrong with them."""
    theme, width = look
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme).new_page()
    wrong: list[str] = []
    own = (url, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"{page.url} asks {r.url}"))
    page.on("console", lambda m: wrong.append(f"{page.url}: {m.text[:200]}") if m.type == "error" else None)
    take(page, url, Shot("login", theme, width), out, wrong)
    sign_in(page, url, key)
    for path in paths:
        take(page, url, Shot(path, theme, width), out, wrong)
    page.context.close()
    return wrong


def main() -> int:
    """Takes all pictures."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--url", default="http://127.0.0.1:8000")
    arguments.add_argument("--key", required=True)
    arguments.add_argument("--out", type=Path, default=Path("pictures"))
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        sign_in(page, given.url, given.key)
        paths = [*PAGES, *found_pages(page, given.url)]
        looks = [(theme, width) for theme in THEMES for width in WIDTHS]
        wrong = [w for look in looks for w in tour(browser, given.url, given.key, look, paths, given.out)]
        browser.close()
    print("\n".join(wrong) or f"{len(looks) * (len(paths) + 1)} pictures in {given.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
