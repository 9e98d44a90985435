"""SQL kept in `.sql` files as named blocks: `-- name: block` begins one, its name is `file.block`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

_BLOCK = re.compile(r"^-- name: *([a-z0-9_]+) *$", re.MULTILINE)
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")


class Query:
    """One statement and the names of the parameters that it wants."""

    __slots__ = ("parameters", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.parameters = frozenset(_PARAMETER.findall(text))

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that this statement wants; a missing one is a `KeyError`."""
        return {name: values[name] for name in self.parameters}


def _blocks(stem: str, text: str) -> Iterator[tuple[str, Query]]:
    parts = _BLOCK.split(text)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        yield f"{stem}.{name}", Query(body.strip().rstrip(";"))


def load_queries(packages: Iterable[str]) -> dict[str, Query]:
    """All named blocks of the packages' `sql/` folders; a name used twice is an error."""
    found: dict[str, Query] = {}
    for package in packages:
        for entry in files(package).joinpath("sql").iterdir():
            if entry.name.endswith(".sql"):
                for name, query in _blocks(entry.name.removesuffix(".sql"), entry.read_text("utf-8")):
                    if name in found:
                        raise ValueError(f"the SQL block {name} exists twice")
                    found[name] = query
    return found


def load_migrations() -> list[tuple[int, str, str]]:
    """The numbered migrations in order: (version, name, SQL)."""
    folder = files("metering").joinpath("sql", "migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(n[:4]), n.removesuffix(".sql"), folder.joinpath(n).read_text("utf-8")) for n in names]
