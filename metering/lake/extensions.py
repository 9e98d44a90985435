"""DuckDB's extensions for the lake, as the packages of `nightrate[lake]` bring them: nothing is ever downloaded."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ALWAYS = ("ducklake", "postgres_scanner")
FOR_S3 = "httpfs"


class ExtensionsMissing(Exception):
    """The lake is wanted and can't be had; nothing else is wrong."""

    def __init__(self, names: list[str], version: str) -> None:
        self.names, self.version = names, version
        packages = ", ".join(f"duckdb-extension-{name.replace('_', '-')}" for name in names)
        super().__init__(
            f"storage.lake needs DuckDB's extensions for {version}, and these are not installed: {packages}; "
            "install them with pip install 'nightrate[lake]'"
        )


def extension_files(version: str, data: str) -> list[Path]:
    """The files to load for a lake whose data lies there; raises `ExtensionsMissing`."""
    names = [*ALWAYS, *([FOR_S3] if data.startswith("s3://") else [])]
    found = {name: next(_places(name, version), None) for name in names}
    if missing := [name for name, file in found.items() if file is None]:
        raise ExtensionsMissing(missing, version)
    return [file for file in found.values() if file is not None]


def _places(name: str, version: str) -> Iterator[Path]:
    spec = find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder, "extensions", version, f"{name}.duckdb_extension")
        if file.is_file():
            yield file
