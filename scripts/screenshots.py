"""Pictures of every page of a running console and of the states it can be in, in both themes and at two widths.

    .venv/bin/nightrate demo --port 8001
    .venv/bin/python scripts/screenshots.py --url http://127.0.0.1:8001 --key "$(cat demo-data/data/admin.key)" --out /tmp/pictures

Look at each of them. `--only` takes those whose name begins with a text; `--blank-url` and `--blank-key` name a service that
nobody used yet, for the empty states; `--readme` takes the README's two pictures, soon after a demo was made. A page that is wider than its window, or asks another host, is reported: exit code 1.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, sync_playwright
from scenes import Scene, blank_scenes, found, open_scene, scenes

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
THEMES = ("light", "dark")
WIDTHS = (1280, 390)
SETTLE_MS = 700
README_SIZE = {"width": 1280, "height": 1040}
EXPECTED = ("status of 40", "ERR_FAILED", "did not respond")
"""Said by the browser where a scene is about a failure."""


@dataclass(frozen=True)
class Place:
    """A console, and who looks at it."""

    url: str
    key: str


@dataclass
class Tour:
    """All scenes of one console in one theme and width."""

    place: Place
    theme: str
    width: int
    out: Path
    wrong: list[str]

    def walk(self, browser: Browser, wanted: list[Scene]) -> None:
        """Takes the pictures, each on a page of its own."""
        look = {"viewport": {"width": self.width, "height": 900}, "color_scheme": self.theme}
        known, stranger = browser.new_context(**look), browser.new_context(**look)
        sign_in(known.new_page(), self.place)
        for scene in wanted:
            page = (known if scene.signed_in else stranger).new_page()
            try:
                self.take(page, scene)
            except Error as error:
                self.wrong.append(f"{scene.name} {self.theme} {self.width}: {error}")
            page.close()
        known.close()
        stranger.close()

    def take(self, page: Page, scene: Scene) -> None:
        """One picture; notes what is wrong with the page."""
        name = f"{scene.name}-{self.theme}-{self.width}.png"
        own = (f"{self.place.url}/", "data:", "blob:")
        page.on(
            "request", lambda r: None if r.url.startswith(own) else self.wrong.append(f"{name} asks {r.url}")
        )
        page.on(
            "console", lambda m: self.wrong.append(f"{name}: {m.text}") if amiss(m.type, m.text) else None
        )
        open_scene(page, self.place.url, scene)
        page.wait_for_timeout(SETTLE_MS)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            self.wrong.append(f"{name} is {wide} px wider than its window")
        page.screenshot(path=self.out / name, full_page=scene.whole)


def amiss(kind: str, text: str) -> bool:
    """Whether a message of the browser's tells of a fault."""
    return kind == "error" and not any(words in text for words in EXPECTED)


def sign_in(page: Page, place: Place) -> None:
    """Opens a session."""
    page.goto(f"{place.url}/console/login")
    page.get_by_label("API key").fill(place.key)
    page.get_by_role("button", name="Sign in").click()
    page.locator("h1").first.wait_for()


def asked() -> argparse.Namespace:
    """What the command line says."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--url", default="http://127.0.0.1:8000")
    arguments.add_argument("--key", required=True)
    arguments.add_argument("--blank-url")
    arguments.add_argument("--blank-key")
    arguments.add_argument("--only", default="")
    arguments.add_argument("--theme", choices=THEMES)
    arguments.add_argument("--width", type=int)
    arguments.add_argument("--readme", action="store_true")
    arguments.add_argument("--out", type=Path, default=Path("pictures"))
    return arguments.parse_args()


def readme(browser: Browser, place: Place) -> None:
    """Model observation in the light, Monitor in the dark, as a window shows them."""
    images = Path(__file__).parent.parent / "docs" / "images"
    model = found(place.url, place.key).models[0]
    period = "from=now-15d"
    for theme, path in (("light", f"observation?{period}"), ("dark", f"monitor/{model}?{period}")):
        context = browser.new_context(viewport=README_SIZE, color_scheme=theme)
        page = context.new_page()
        sign_in(page, place)
        open_scene(page, place.url, Scene("readme", path))
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=images / f"console-{theme}.png")
        context.close()


def main() -> int:
    """Takes all pictures."""
    given = asked()
    given.out.mkdir(parents=True, exist_ok=True)
    tours = [(Place(given.url, given.key), scenes(found(given.url, given.key)))]
    if given.blank_url:
        blank = Place(given.blank_url, given.blank_key or given.key)
        tours.append((blank, blank_scenes(found(blank.url, blank.key))))
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        if given.readme:
            readme(browser, tours[0][0])
            return 0
        for theme in [given.theme] if given.theme else THEMES:
            for width in [given.width] if given.width else WIDTHS:
                for place, wanted in tours:
                    chosen = [scene for scene in wanted if scene.name.startswith(given.only)]
                    Tour(place, theme, width, given.out, wrong).walk(browser, chosen)
        browser.close()
    print("\n".join(wrong) or f"{len(list(given.out.glob('*.png')))} pictures in {given.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
