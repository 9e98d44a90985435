"""Components as plain values: what a browser gets is what Dash itself would send."""

import json

from dash import dcc, html
from dash._utils import to_json

from dashboard import parts
from dashboard.component import plain
from dashboard.field import Field
from dashboard.plot import Plot
from dashboard.spark import Spark


def test_plain_values_are_those_that_dash_would_send() -> None:
    """Of Dash's components and of our own, with all that they hold; nothing of Dash's is left in them."""
    tree = [
        html.Div([html.Span("text"), None, 3, ["inner"]], className="a", **parts.data(id="x", value=None)),
        dcc.Store(id={"part": "seen", "key": "k"}),
        Field(name="n", type="text", value="<b>", **parts.data(field="f"), **{"aria-label": "l"}),
        Plot(figure={"data": [{"y": [1, None]}], "layout": {}}, height=220, zooms=True),
        Spark(heights=[0, 20], label="Calls"),
        parts.table("T", [parts.Column("One", sort="one")], [parts.row("r", [parts.cell("f", "x", 1)])]),
    ]
    told = plain(tree)
    assert json.loads(json.dumps(told)) == json.loads(to_json(tree))
