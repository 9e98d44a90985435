"""A place that is not there, or not for this caller."""

from typing import Any

from dash import html

from dashboard import parts
from dashboard.filters import PREFIX, Address
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer


def head(_: ConsoleServices, __: Viewer, ___: Address) -> list[Any]:
    """The name of the page."""
    return [parts.head("Page not found", "There is nothing at this address that you may see.")]


def live(_: ConsoleServices, __: Viewer, ___: Address) -> list[Any]:
    """The way back."""
    back = parts.link("Go to Batch inference", f"{PREFIX}/")
    return [html.Div(parts.empty("The link may be mistyped", back), className="panel")]
