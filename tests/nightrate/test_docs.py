"""Documentation that can't rot: commands, settings and links are there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from nightrate.app import build
from nightrate.cli import application
from nightrate.settings import load, setting_names
from tests.nightrate.running import settings_file

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")


def commands() -> list[str]:
    return sorted(get_command(application()).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    """docs/cli.md and the README name each command."""
    assert f"`nightrate {command}" in (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert f"`{command}`" in (ROOT / "README.md").read_text("utf-8").replace("nightrate serve", "serve")


def test_no_command_is_documented_that_is_not_there() -> None:
    """What the pages call `nightrate …` exists."""
    for page in PAGES:
        named = set(re.findall(r"`nightrate ([a-z]+)", page.read_text("utf-8")))
        assert named <= set(commands()), page


@pytest.mark.parametrize("name", list(setting_names()))
def test_every_setting_is_documented(name: str) -> None:
    """docs/settings.md has each key in its section."""
    section, _, key = name.partition(".")
    text = re.split(r"^## `\[+" + section + r"\]+`$", SETTINGS, flags=re.MULTILINE)[1].split("\n## ")[0]
    assert f"`{key}`" in text


def test_every_route_is_documented(tmp_path: Path) -> None:
    """docs/api.md has each call of the OpenAPI description, and no other."""
    app, services = build(load(settings_file(tmp_path), {}), {})
    services.store.close()
    paths = app.openapi()["paths"]
    calls = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    named = set(
        re.findall(r"`((?:GET|POST|PATCH|DELETE) /[^`]*)`", (ROOT / "docs" / "api.md").read_text("utf-8"))
    )
    assert named == calls


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of the pages names a file that is there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        if not target.startswith("docs/images/"):  # made by a script, from a running console
            assert (page.parent / target).exists(), target
