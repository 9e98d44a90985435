"""Colours of charts in both themes: the tokens of assets/console.css, since Plotly can't read CSS variables."""

from dataclasses import dataclass
from typing import Any, Literal

ThemeName = Literal["light", "dark"]
FONT = 'Inter, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'


@dataclass(frozen=True, slots=True)
class Theme:
    """The tokens that a chart needs."""

    name: ThemeName
    surface: str
    line: str
    text: str
    faint: str
    bad: str
    series: tuple[str, ...]
    """c1 … c8, in order."""

    def layout(self) -> dict[str, Any]:
        """What every chart's layout begins with."""
        axis = {
            "gridcolor": self.line,
            "linecolor": self.line,
            "zerolinecolor": self.line,
            "automargin": True,
            "ticks": "outside",
            "ticklen": 4,
            "tickcolor": "rgba(0,0,0,0)",
        }
        return {
            "paper_bgcolor": self.surface,
            "plot_bgcolor": self.surface,
            "font": {"family": FONT, "size": 11, "color": self.faint},
            "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
            "xaxis": {
                **axis,
                "type": "date",
                "showgrid": False,
                "spikecolor": self.faint,
                "spikethickness": 1,
                "spikedash": "dot",
            },
            "yaxis": {
                **axis,
                "rangemode": "tozero",
                "nticks": 5,
                "showline": False,
                "separatethousands": True,
            },
            "showlegend": False,
            "hovermode": "x unified",
            "hoverlabel": {"bgcolor": self.surface, "bordercolor": self.line, "font": {"color": self.text}},
            "dragmode": "zoom",
            "bargap": 0.3,
        }


LIGHT = Theme(
    "light", "#fff", "#e3e6eb", "#171b24", "#626b7c", "#c02a37",
    ("#4046c9", "#0f8b8d", "#d1701f", "#a23b8f", "#5b8c2a", "#a8821f", "#2d7fc1", "#8a6d5b"),
)  # fmt: skip
DARK = Theme(
    "dark", "#161a24", "#2a3040", "#eceff5", "#8b95a8", "#ff8b94",
    ("#9aa0ff", "#4fc9c9", "#f2a35e", "#e08ad0", "#a4cf6f", "#e6c767", "#7fbcf5", "#c5a992"),
)  # fmt: skip


def theme_of(name: str | None) -> Theme:
    """The theme of a name; light for anything else."""
    return DARK if name == "dark" else LIGHT
