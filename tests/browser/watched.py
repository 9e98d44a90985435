"""A page that notes what must not happen on it."""

import time
from collections.abc import Callable

from playwright.sync_api import ConsoleMessage, Page, Request, Response, expect

OURS = ("data:", "blob:", "about:")
PATIENCE_SECONDS = 60


def until(page: Page, true: Callable[[], bool]) -> None:
    """Lets the page go on until something holds that it does not tell itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never held"
        page.wait_for_timeout(50)


HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def stand_still(page: Page) -> None:
    """As if nobody looked: the page asks for nothing by itself any more, and what it had begun to ask is drawn."""
    page.evaluate(HIDE, True)
    expect(page.locator("._dash-loading-callback")).to_have_count(0)


class Watched:
    """A page of the console, and everything that went wrong on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.wrong: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on("request", self._asked)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # That a session ended, or a form was filled in wrongly, is told on the page.
        if message.type == "error" and "status of 40" not in message.text:
            self.wrong.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/console/", *OURS)):
            self.wrong.append(f"asked {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.wrong.append(f"{response.status} of {response.url}")

    def sign_in(self, key: str) -> None:
        """By the login page."""
        self.page.goto(f"{self.url}/console/")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", level=1, name="Batch inference").wait_for()

    def visit(self, path: str) -> Page:
        """Goes to a path below /console/."""
        self.page.goto(f"{self.url}/console/{path}")
        self.page.locator("h1").wait_for()
        return self.page

    def too_wide(self) -> int:
        """By how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return max(0, width)
