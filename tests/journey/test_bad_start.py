"""What keeps the service from starting: said with its place and its remedy, and nothing is harmed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.journey.neighbour import LISTED, Neighbour, billed
from tests.server import ADMIN_KEY, PRICES, Server

WRONG_SETTINGS, FAILED = 2, 1


@pytest.fixture(scope="module")
def neighbour(server: Server) -> Neighbour:
    """A task that was billed before anything went wrong."""
    task = Neighbour.moves_in(server)
    task.is_undisturbed()
    return task


@pytest.fixture
def stopped(server: Server, neighbour: Neighbour) -> Iterator[Path]:
    """The folder of the stopped service; with its old files back it starts again, and the bill is the same."""
    assert server.stop() == 0
    kept = {path: path.read_bytes() for path in (server.config, server.folder / "prices.toml")}
    yield server.folder
    for path, content in kept.items():
        path.write_bytes(content)
    server.start()
    neighbour.is_undisturbed()


def refused(config: Path, code: int, *says: str, **environment: str) -> list[str]:
    """The lines of a service that must not start; all of `says` must stand there, and no traceback."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTRATE_")}
    env |= {"NIGHTRATE_ADMIN_KEY": ADMIN_KEY, **environment}
    command = [sys.executable, "-m", "nightrate.serve", str(config)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    missing = [part for part in says if part not in done.stderr]
    assert not missing, (missing, done.stderr)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("nightrate can't start: ")
    return done.stderr.removeprefix("nightrate can't start: ").splitlines()


def line_of(text: str, part: str) -> int:
    """The 1-based line on which a part of a text begins."""
    return text[: text.index(part)].count("\n") + 1


SETTINGS = """
[server]
port = "x"
data_dir = "elsewhere"
[limit]
line_bytes = 1
[executor]
max_attemps = 3
[[models]]
name = "m"
upstreams = ["http://127.0.0.1:9/v1"]
[[models]]
name = "n"
upstream = "http://127.0.0.1:9/v1"
"""
SETTINGS_FAULTS = {
    "server.port": "not 'x'",
    "server.data_dir": "there is no such setting; did you mean 'storage.data_dir'?",
    "limit": "there is no such setting; did you mean 'limits'?",
    "executor.max_attemps": "there is no such setting; did you mean 'max_attempts'?",
    "models[1].upstream": "there is no such setting; did you mean 'upstreams'?",
}


def test_wrong_settings(tmp_path: Path) -> None:
    """All of them at once, each with its place, an unknown key with the nearest right one; no folder is made."""
    (tmp_path / "prices.toml").write_text(PRICES)
    config = tmp_path / "wrong.toml"
    config.write_text(SETTINGS)
    lines = refused(config, WRONG_SETTINGS)
    for place, fault in SETTINGS_FAULTS.items():
        start = f"{config}: {place}: "
        assert any(line.startswith(start) and line.endswith(fault) for line in lines), (place, lines)
    config.write_text("[server]\nport = 0\n[storage\n")
    refused(config, WRONG_SETTINGS, str(config), "not valid TOML", "line 3")
    config.write_text("")
    refused(config, WRONG_SETTINGS, "NIGHTRATE_SERVER__PROT", "mean 'port'", NIGHTRATE_SERVER__PROT="1")
    assert not (tmp_path / "data").exists()


def test_a_key_that_no_header_can_carry(tmp_path: Path) -> None:
    """It is told at start and not by every request; a line break at its end is none of it."""
    (tmp_path / "prices.toml").write_text(PRICES)
    config = tmp_path / "nightrate.toml"
    config.write_text(NEEDED + "api_key_env = 'UPSTREAM_KEY'\n")
    for key in ("two\nlines", "“quoted”"):
        refused(config, WRONG_SETTINGS, "UPSTREAM_KEY", "no HTTP header can carry", UPSTREAM_KEY=key)
    refused(config, WRONG_SETTINGS, "UPSTREAM_KEY", "is not set", UPSTREAM_KEY=" \n")


MODEL = "[[models]]\nname = '%s'\nupstreams = ['http://127.0.0.1:9/v1']\n"
NEEDED = f"[server]\nport = 0\n{MODEL % 'm'}"
PRICE_FAULTS = [
    (("tiers", "tiers"), "", ""),  # the first one is right
    (('input = "1.5"', 'input = "x"'), "tiers[0].input", "'x' is no decimal number"),
    (('input = "1.5"', "input = 1.5"), "tiers[0].input", 'write it as a string: "1.5"'),
    (('input = "3"', 'input = "-3"'), "tiers[1].input", "is negative"),
    (('"USD"', '"US$"'), "currency", "ISO 4217"),
    (("T00:00:00Z", ""), "valid_from", "write valid_from = 2020-01-01T00:00:00Z"),
    (("source", "sauce"), "sauce", "did you mean source"),
    (("tiers", "tiers"), "valid_from", "at line 2 already"),
]


def test_a_broken_price_book(tmp_path: Path) -> None:
    """Of every fault the file, the line, the field and what to write instead."""
    config, book = tmp_path / "nightrate.toml", tmp_path / "prices.toml"
    config.write_text(NEEDED)
    book.write_text("".join(PRICES.replace(before, after) for (before, after), _, _ in PRICE_FAULTS))
    lines = refused(config, WRONG_SETTINGS)
    assert len(lines) == len(PRICE_FAULTS) - 1, lines
    for number, (change, field, message) in list(enumerate(PRICE_FAULTS))[1:]:
        key = f"{field.rpartition('.')[2]} = " if "[" not in field else "tiers"
        place = number * PRICES.count("\n") + line_of(PRICES.replace(*change), key)
        assert any(line.startswith(f"{book}:{place}: {field}: ") and message in line for line in lines), lines
    book.write_text(PRICES + "tiers = [\n")
    refused(config, WRONG_SETTINGS, f"{book}:{PRICES.count(chr(10)) + 1}: ", "is not TOML")
    assert not (tmp_path / "data" / "nightrate.duckdb").exists()


def test_a_model_without_a_price(tmp_path: Path) -> None:
    """Each is named, with what to do; one that is free needs none."""
    config, book = tmp_path / "nightrate.toml", tmp_path / "prices.toml"
    names = ("bare", "gratis", "future", "two")
    models = "".join(MODEL % name + "free = true\n" * (name == "gratis") for name in names)
    config.write_text(f"[server]\nport = 0\n{models}")
    two = PRICES.replace('"m"', '"two"')
    future = PRICES.replace('"m"', '"future"').replace("2020-01-01", "2999-01-01")
    book.write_text(two + two.replace("USD", "CNY") + future)
    remedies = {"bare": "add one with [[prices]]", "future": "in force", "two": "set billing.currency"}
    for line, (name, remedy) in zip(refused(config, WRONG_SETTINGS), remedies.items(), strict=True):
        assert [part for part in (str(book), f"'{name}'", remedy, "free = true") if part not in line] == []


def test_a_price_that_was_used_may_not_change(stopped: Path) -> None:
    """Changed, pushed aside or left out: the line to mend and the value that charges have used."""
    config, book = stopped / "nightrate.toml", stopped / "prices.toml"
    stored = 'model = "m", currency = "USD", valid_from = 2020-01-01T00:00:00Z'
    tier = 'up_to_input_tokens = 1000, input = "1.5", output = "2.25", output_thinking = "4"'
    book.write_text(PRICES.replace('"1.5"', '"1.6"'))
    place = f"{book}:{line_of(PRICES, '[[prices]]')}: prices: "
    refused(config, WRONG_SETTINGS, place, "a used price can't be changed", stored, tier, "restore it")
    aside = PRICES + PRICES.replace("2020-01-01", "2021-01-01").replace('"1.5"', '"1"')
    book.write_text(aside)
    place = f"{book}:{aside[: aside.rindex('[[prices]]')].count(chr(10)) + 1}: prices: "
    refused(config, WRONG_SETTINGS, place, stored, tier, "later valid_from")
    book.write_text(PRICES.replace("2020-01-01", "2021-01-01"))
    refused(config, WRONG_SETTINGS, f"{book}:", stored, tier)


def test_prices_that_may_change(server: Server, stopped: Path, neighbour: Neighbour) -> None:
    """Another spelling of the same decimals, another source, a price of the future."""
    later = PRICES.replace("2020-01-01", "2999-01-01").replace('"1.5"', '"9"')
    same = PRICES.replace('"1.5"', '"1.50"').replace("a test", "elsewhere")
    (stopped / "prices.toml").write_text(same + later)
    server.start()
    assert billed(server, neighbour.task_id) == (LISTED, LISTED / 2)
    assert server.stop() == 0


def test_a_folder_of_a_newer_version(stopped: Path) -> None:
    """It is left as it is, and its version is named."""
    database = stopped / "data" / "nightrate.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'later', now())")
    try:
        config = stopped / "nightrate.toml"
        (_,) = refused(config, FAILED, str(database), "9999", "newer version", "storage.data_dir")
    finally:
        with duckdb.connect(str(database)) as connection:
            connection.execute("DELETE FROM schema_migrations WHERE version = 9999")


def test_the_port_or_the_folder_is_taken(server: Server, neighbour: Neighbour, tmp_path: Path) -> None:
    """The second service names port or process and ends; the first goes on with its work."""
    assert server.process is not None
    running = Neighbour.moves_in(server)
    owner = f"in use by process {server.process.pid};"
    (_,) = refused(server.config, FAILED, owner, "storage.data_dir", NIGHTRATE_SERVER__PORT="0")
    elsewhere = tmp_path / "elsewhere"
    port = (f"port {server.port}: ", "in use", "server.port")
    (_,) = refused(server.config, FAILED, *port, NIGHTRATE_STORAGE__DATA_DIR=str(elsewhere))
    assert not elsewhere.exists()
    running.is_undisturbed()
    neighbour.is_undisturbed()


@pytest.mark.parametrize("folder", ["a file", "a file/below"])
def test_a_data_folder_that_can_not_be_made(tmp_path: Path, folder: str) -> None:
    """A file is in its place, or above it: the folder and the setting are named."""
    (tmp_path / "a file").touch()
    (tmp_path / "prices.toml").write_text(PRICES)
    config = tmp_path / "nightrate.toml"
    config.write_text(f'[storage]\ndata_dir = "{folder}"\n[local_model]\nenabled = false\n')
    says = (f"the data folder {tmp_path / folder} can't be made", "storage.data_dir")
    (_,) = refused(config, FAILED, *says, NIGHTRATE_SERVER__PORT="0")
