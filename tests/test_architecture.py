"""The house is built as docs/architecture.md says: who imports whom, how long things are, what stands where."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "metering": {"metering"},
    "executor": {"metering", "executor"},
    "dashboard": {"metering", "executor", "dashboard"},
    "nightrate": {"metering", "executor", "dashboard", "nightrate"},
}
ONLY_IN = {
    "duckdb": ("metering/connection.py",),
    "httptools": ("executor/wire/connection.py",),
    "ray": ("executor/engines/ray.py",),
    "aiohttp": ("executor/webhooks/deliveries.py",),
    "dash": ("dashboard/",),
    "plotly": ("dashboard/",),
    "flask": ("dashboard/",),
    "prometheus_client": ("metering/metrics.py", "metering/metric_", "nightrate/"),
    "fastapi": ("metering/api/", "executor/api/", "nightrate/"),
    "starlette": ("metering/api/", "executor/api/", "nightrate/"),
    "uvicorn": ("nightrate/",),
    "xllamacpp": ("nightrate/local_model.py",),
}
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
SQL = re.compile(
    r"^\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(OR\s+REPLACE\s+)?TABLE|WITH\s+\w+\s+AS)\b",
    re.IGNORECASE | re.DOTALL,
)
SQL_IS_PART_OF = {"metering/store.py", "metering/connection.py"}
"""Its own bookkeeping of migrations, and the INSERT of Arrow tables: no names of ours are in it."""


def sources() -> list[Path]:
    return sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))


def every_python_file() -> list[Path]:
    folders = [*ROOMS, "tests", "benchmarks"]
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)}:{node.lineno}: a relative import"
            yield node.module or ""


def test_no_room_knows_what_comes_after_it() -> None:
    """metering knows nothing of ours, executor knows metering, dashboard both, nightrate all."""
    wrong = [
        f"{name_of(file)} imports {module}"
        for file in sources()
        for module in imports_of(file)
        if (room := module.partition(".")[0]) in ROOMS and room not in ROOMS[file.relative_to(ROOT).parts[0]]
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_used_where_it_belongs(package: str) -> None:
    """One file speaks to the database, one to models, and only the console to its charts."""
    wrong = [
        name_of(file)
        for file in sources()
        if package in {module.partition(".")[0] for module in imports_of(file)}
        and not name_of(file).startswith(ONLY_IN[package])
    ]
    assert not wrong, wrong


def test_no_file_is_longer_than_400_lines() -> None:
    """One noun of the domain a file."""
    long = {name_of(file): lines for file in every_python_file() if (lines := _lines(file)) > LINES_OF_A_FILE}
    assert not long, long


def _lines(file: Path) -> int:
    return len(file.read_text("utf-8").splitlines())


def test_no_function_is_longer_than_60_lines() -> None:
    """Functions can be read at one look. A function that only holds others, such as a router, is counted without them."""
    long = [
        f"{name_of(file)}:{node.lineno} {node.name}: {lines} lines"
        for file in every_python_file()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := _own_lines(node)) > LINES_OF_A_FUNCTION
    ]
    assert not long, long


def _own_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    inner = [
        child
        for child in ast.walk(node)
        if child is not node and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    held = {line for child in inner for line in range(child.lineno, (child.end_lineno or 0) + 1)}
    return len(set(range(node.lineno, (node.end_lineno or 0) + 1)) - held)


def test_sql_stands_in_sql_files() -> None:
    """Statements are named blocks, not texts within code."""
    wrong = [
        f"{name_of(file)}:{node.lineno}"
        for file in sources()
        if name_of(file) not in SQL_IS_PART_OF
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]
    assert not wrong, wrong


def test_there_is_no_drawer_for_everything() -> None:
    """A file is named for what it is about."""
    drawers = [name_of(f) for f in sources() if re.search(r"util|helper|manager|misc|common", f.stem)]
    assert not drawers, drawers


def test_nothing_is_left_for_later() -> None:
    """What is not there is not hinted at."""
    words = re.compile("TO" + "DO|FIX" + "ME|XX" + "X|NotImplemented" + "Error|assert" + " True")
    wrong = [name_of(file) for file in every_python_file() if words.search(file.read_text("utf-8"))]
    assert not wrong, wrong


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    return [file for name in listed.decode().split("\0") if name and (file := ROOT / name).is_file()]


def test_nothing_names_a_registry_or_one_machine() -> None:
    """The repository can be cloned anywhere and installed from any index."""
    host = re.compile(
        r"(py" + r"pi|python" + r"hosted|npm" + r"js|deb" + r"ian)\.(org|com)\b|index-url\s*=|"
        "/work" + "/(main|shared)|/" + "root/"
    )  # in pieces, so that this file doesn't name them either
    wrong = []
    for file in tracked_files():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{name_of(file)}: {found[0]}" for found in [host.search(text)] if found]
    assert not wrong, wrong


def test_every_metric_is_documented() -> None:
    """docs/metrics.md names each metric that the code makes."""
    documented = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    text = "".join(file.read_text("utf-8") for file in (ROOT / "metering").rglob("*.py"))
    made = set(re.findall(r'"(nightrate_[a-z_]+)"', text))
    assert made
    missing = {name for name in made if name not in documented}
    assert not missing, missing
