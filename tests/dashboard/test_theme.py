"""Colours: the charts use the style sheet's, and text can be read on what it stands on."""

import re
from pathlib import Path

import pytest

from dashboard.theme import DARK, LIGHT, Theme

CSS = (Path(__file__).parents[2] / "dashboard" / "assets" / "console.css").read_text("utf-8")


def tokens(selector: str) -> dict[str, str]:
    block = re.search(re.escape(selector) + r"\{(.*?)\}", CSS, re.DOTALL)
    assert block is not None
    return dict(re.findall(r"--([a-z0-9-]+):(#[0-9a-f]{3,6})", block[1]))


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(c * 2 for c in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


THEMES = [(LIGHT, ":root"), (DARK, "[data-theme=dark]")]


@pytest.mark.parametrize(("theme", "selector"), THEMES)
def test_charts_use_the_style_sheet_s_colours(theme: Theme, selector: str) -> None:
    """dashboard/theme.py and assets/console.css hold the same tokens."""
    css = tokens(selector)
    assert (theme.surface, theme.line, theme.text, theme.faint, theme.bad) == (
        css["surface"], css["line"], css["text"], css["faint"], css["bad"],
    )  # fmt: skip
    assert theme.series == tuple(css[f"c{n}"] for n in range(1, 9))


@pytest.mark.parametrize(("theme", "selector"), THEMES)
def test_text_can_be_read(theme: Theme, selector: str) -> None:
    """4.5 : 1 for every text on every ground it is used on."""
    css = tokens(selector)
    grounds = {
        "text": ("bg", "surface", "sunken"),
        "soft": ("bg", "surface", "sunken", "calm-soft"),
        "faint": ("bg", "surface", "sunken"),
        "accent": ("bg", "surface", "accent-soft"),
        "good": ("surface", "good-soft"),
        "bad": ("surface", "bad-soft"),
        "warn": ("surface", "warn-soft"),
        "on-accent": ("accent",),
    }
    for text, stands_on in grounds.items():
        for ground in stands_on:
            assert contrast(css[text], css[ground]) >= 4.5, f"{text} on {ground}"


@pytest.mark.parametrize(("theme", "selector"), THEMES)
def test_marks_and_borders_of_fields_can_be_seen(theme: Theme, selector: str) -> None:
    """3 : 1 on the surface."""
    css = tokens(selector)
    for name in ("edge", *[f"c{n}" for n in range(1, 9)]):
        assert contrast(css[name], css["surface"]) >= 3, name
