"""The pages, by their paths."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dashboard.filters import Address
from dashboard.pages import billing, missing, monitor, observation, settings, task, tasks
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.access import Access

Draw = Callable[[ConsoleServices, Viewer, Address], list[Any]]
FAST_MS = 2000
SLOW_MS = 5000


@dataclass(frozen=True, slots=True)
class View:
    """A page in two parts: `head` is drawn once an address, `live` again and again."""

    head: Draw
    live: Draw
    every_ms: int


def view_of(address: Address, access: Access) -> View:
    """The page of an address; a page that this caller may not see is as unknown as any other."""
    if address.path == "/":
        return View(tasks.head, tasks.live, FAST_MS)
    if address.path.startswith("/tasks/"):
        return View(task.head, task.live, FAST_MS)
    if address.path == "/observation":
        return View(observation.head, observation.live, SLOW_MS)
    if address.path.startswith("/monitor/"):
        return View(monitor.head, monitor.live, SLOW_MS)
    if address.path == "/billing":
        return View(billing.head, billing.live, SLOW_MS)
    if address.path == "/settings" and access.is_admin:
        return View(settings.head, settings.live, SLOW_MS)
    return View(missing.head, missing.live, 0)
