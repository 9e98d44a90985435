"""A chart of Plotly that is drawn when it comes into view (assets/plot.js).

Dash's own Graph draws all charts of a page at once, which keeps a browser busy for seconds, and needs each band
between two lines as numbers of its own. Here a figure may name them: `bands` is (lower line, upper line, colour).
"""

from pathlib import Path

import plotly
from flask import Flask, Response, send_file

from dashboard.component import OwnComponent

SCRIPT = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
SCRIPT_PATH = f"/assets/plotly-{plotly.__version__}.js"
A_YEAR = 31_536_000


class Plot(OwnComponent):
    """`figure` is one of dashboard/figures.py, `height` in pixels."""

    _namespace, _type = "nightrate", "Plot"
    properties = ("id", "figure", "height", "zooms")


def plotly_script(server: Flask) -> None:
    """Serves Plotly's script under the name of its version, so that a browser keeps it."""

    def script() -> Response:
        answer = send_file(SCRIPT, mimetype="text/javascript", conditional=False)
        answer.headers["Cache-Control"] = f"private, max-age={A_YEAR}, immutable"
        return answer

    server.add_url_rule(SCRIPT_PATH, "plotly", script, methods=["GET"])
