"""A section as one component: what a browser draws of it is what was drawn by the page."""

import json

from dash import html

from dashboard import parts
from dashboard.component import tree
from dashboard.field import Field
from dashboard.spark import Spark


def test_a_section_is_told_as_names_attributes_and_what_is_within() -> None:
    """Texts, numbers, lists within lists, gaps, our own components; nothing of what was not given."""
    drawn = [
        html.Div([html.Span("text"), None, 3, ["inner", html.Br()]], className="a", **parts.data(id="x")),
        Field(name="n", type="text", value="<b>", **parts.data(field="f"), **{"aria-label": "l"}),
        [Spark(heights=[0, 20], label="Calls")],
        "a text",
    ]
    assert json.loads(json.dumps(tree(drawn))) == [
        ["Div", {"className": "a", "data-id": "x"}, ["Span", {}, "text"], 3, "inner", ["Br", {}]],
        ["!Field", {"name": "n", "type": "text", "value": "<b>", "data-field": "f", "aria-label": "l"}],
        ["!Spark", {"heights": [0, 20], "label": "Calls"}],
        "a text",
    ]
