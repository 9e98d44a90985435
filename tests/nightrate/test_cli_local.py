"""The commands that need no service: convert, check, sample, settings, prices check; and how commands fail."""

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest

from nightrate.cli import main
from nightrate.cli.admin import without_secrets
from tests.metering.golden_month import FOLDER as GOLDEN

SETTINGS = """
[storage]
data_dir = "data"
[billing]
prices = "prices.toml"
[[models]]
name = "qwen-plus"
upstreams = ["http://user:hush@127.0.0.1:9/v1"]
[server]
port = {port}
"""
PRICES = """
[[prices]]
model = "qwen-plus"
currency = "CNY"
valid_from = 2026-02-24T00:00:00Z
source = "test"
tiers = [{ input = "0.8", output = "2" }]
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file whose service does not run."""
    for name in ("NIGHTRATE_CONFIG", "NIGHTRATE_URL", "NIGHTRATE_KEY", "NIGHTRATE_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (tmp_path / "prices.toml").write_text(PRICES)
    file = tmp_path / "nightrate.toml"
    file.write_text(SETTINGS.format(port=port))
    monkeypatch.setenv("NIGHTRATE_CONFIG", str(file))
    return file


class Cli:
    """Runs the command line as the installed command does, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *args: object) -> int:
        self._monkeypatch.setattr(sys, "argv", ["nightrate", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return int(ended.value.code or 0)


@pytest.fixture
def cli(settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line with the settings above."""
    return Cli(monkeypatch, capsys)


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_convert_keeps_quotes_newlines_and_commas(cli: Cli, tmp_path: Path) -> None:
    """What stands in a cell arrives unchanged; a BOM and the header row do not."""
    table = tmp_path / "in.csv"
    table.write_bytes('\ufeffcustom_id,question\r\na1,"He said ""hi"",\nthen left"\r\nb2,你好\r\n'.encode())
    assert cli("convert", table, "--model", "qwen-plus", "--system", "Be brief.") == 0
    first, second = lines_of(tmp_path / "in.jsonl")
    assert first["custom_id"] == "a1"
    assert first["body"]["messages"][1]["content"] == 'He said "hi",\nthen left'  # type: ignore[index]
    assert first["body"]["messages"][0] == {"role": "system", "content": "Be brief."}  # type: ignore[index]
    assert second["body"]["messages"][1]["content"] == "你好"  # type: ignore[index]
    assert cli("check", tmp_path / "in.jsonl") == 0
    assert "2 requests for qwen-plus" in cli.err


def test_convert_header_can_be_said(cli: Cli, tmp_path: Path) -> None:
    """Whether the first row is a header is guessed from its first cell, or told."""
    table = tmp_path / "in.csv"
    table.write_text("key,question\n1,one\n")
    assert cli("convert", table, "--model", "qwen-plus") == 0
    assert len(lines_of(tmp_path / "in.jsonl")) == 2
    assert cli("convert", table, "--model", "qwen-plus", "--header", "yes", "--force") == 0
    assert len(lines_of(tmp_path / "in.jsonl")) == 1


def test_convert_names_every_bad_row_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    """Errors carry the table's row and the file's line; the target does not appear."""
    table = tmp_path / "in.csv"
    table.write_text('id,q\na,"two\nlines"\n,no id\na,again\nlonely\nb,\n')
    assert cli("convert", table, "--model", "qwen-plus") == 1
    for told in ("custom_id, is empty", "already in row 2", "there is one column", "user says, is empty"):
        assert told in cli.out
    assert "4 rows can't be converted" in cli.err
    assert list(tmp_path.glob("in.jsonl*")) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"id;q\n1;one\n", "--delimiter ';'"),
        (b'1,"never closed\n', "never closed"),
        (b"1,\xff\xfe\n", "not UTF-8"),
        ("1,one\n".encode("utf-16"), "not UTF-8"),
        (b"", "no row"),
        (b"custom_id,q\n", "no row"),
        (b"1,a\x00b\n", "NUL"),
        (b"x" * 300 + b",one\n", "300 characters"),
    ],
)
def test_convert_says_how_to_mend_a_file(cli: Cli, tmp_path: Path, content: bytes, told: str) -> None:
    """Files that are no table of two columns are refused with what to do."""
    table = tmp_path / "in.csv"
    table.write_bytes(content)
    assert cli("convert", table, "--model", "qwen-plus") == 1
    assert told in cli.out


def test_convert_does_not_overwrite(cli: Cli, tmp_path: Path) -> None:
    """An existing file stays as it is unless --force is given."""
    (tmp_path / "in.csv").write_text("1,one\n")
    (tmp_path / "in.jsonl").write_text("mine")
    assert cli("convert", tmp_path / "in.csv", "--model", "m") == 2
    assert (tmp_path / "in.jsonl").read_text() == "mine"
    assert "--force" in cli.err


def test_convert_for_the_test_model_uses_its_url(cli: Cli, tmp_path: Path) -> None:
    """The test model has its own endpoint."""
    (tmp_path / "in.csv").write_text("1,one\n")
    assert cli("convert", tmp_path / "in.csv", "--model", "batch-test-model", "-o", "-") == 0
    assert json.loads(cli.out)["url"] == "/v1/chat/ds-test"


def test_check_names_lines_and_exits_1(cli: Cli, tmp_path: Path) -> None:
    """A bad file is told line by line, as JSON too."""
    file = tmp_path / "in.jsonl"
    good = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    good["body"] = {"model": "qwen-plus", "messages": []}  # type: ignore[assignment]
    file.write_text(json.dumps(good) + "\n" + json.dumps(good) + "\nnot json\n")
    assert cli("check", file) == 1
    assert "duplicate_custom_id" in cli.out
    assert "invalid_json_line" in cli.out
    assert cli("check", file, "--json") == 1
    assert [error["line"] for error in json.loads(cli.out)["errors"]] == [2, 3]


def test_sample_without_a_service_asks_a_configured_model(cli: Cli, tmp_path: Path) -> None:
    """The sample is accepted by check."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.key").write_text("some-admin-key-0123456789")
    assert cli("sample") == 0
    file = tmp_path / "sample.jsonl"
    file.write_text(cli.out)
    assert len(lines_of(file)) == 2
    assert cli("check", file) == 0
    assert cli("sample", "--model", "nobody") == 2
    assert "qwen-plus" in cli.err


def test_settings_are_printed_without_secrets(cli: Cli) -> None:
    """Effective values, defaults included, readable as TOML; user info of addresses is left out."""
    import tomllib

    assert cli("settings") == 0
    told = tomllib.loads(cli.out)
    assert told["models"][0]["upstreams"] == ["http://127.0.0.1:9/v1"]
    assert told["limits"]["requests_per_file"] == 50_000
    assert "hush" not in cli.out
    assert cli("settings", "--json") == 0
    assert "hush" not in cli.out
    assert without_secrets({"lake": "host=db password='hush hush' user=me"}) == {
        "lake": "host=db password=… user=me"
    }


def test_prices_check_names_the_fault(cli: Cli, tmp_path: Path) -> None:
    """A right book passes, a wrong one fails with its file and line."""
    assert cli("prices", "check") == 0
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(PRICES.replace('"0.8"', "0.8"))
    assert cli("prices", "check", wrong) == 1
    assert "wrong.toml" in cli.err


def test_an_exported_folder_is_proved_without_a_service(cli: Cli, tmp_path: Path) -> None:
    """Exit code 1 and the difference if a file was changed, 2 if there is nothing to prove."""
    for name in ("statement-2026-03.json", "charges-2026-03.csv"):
        shutil.copy(GOLDEN / name, tmp_path)
    assert cli("statement", "--folder", tmp_path) == 0
    assert "NR-000001" in cli.out
    assert "2026-03: every statement follows from its charges" in cli.err
    charges = tmp_path / "charges-2026-03.csv"
    charges.write_text(charges.read_text("utf-8").replace('"0.0516"', '"0.0517"', 1), "utf-8")
    assert cli("statement", "2026-03", "--folder", tmp_path) == 1
    assert "amount is 0.0517, tokens and list price give 0.0516" in cli.out
    assert cli("statement", "2026-04", "--folder", tmp_path) == 1
    assert "nightrate export statement --period 2026-04" in cli.err
    assert cli("statement", "--folder", tmp_path / "none") == 1
    (tmp_path / "empty").mkdir()
    assert cli("statement", "--folder", tmp_path / "empty") == 2


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("check",),
        ("check", "no-such-file.jsonl"),
        ("export", "nonsense"),
        ("settings", "--config", "no-such.toml"),
        ("tasks", "--url", "ftp://x", "--key", "k"),
        ("workspaces", "set", "default", "--key", "k"),
    ],
)
def test_wrong_use_is_exit_code_2(cli: Cli, args: tuple[str, ...]) -> None:
    """Whatever can't be asked is told apart from what failed."""
    assert cli(*args) == 2
    assert cli.err


def test_a_service_that_is_not_there_is_named(cli: Cli) -> None:
    """The message has the address and what to do; exit code 1."""
    assert cli("tasks", "--key", "k") == 1
    assert "no Nightrate answers at http://127.0.0.1:" in cli.err
    assert "nightrate serve" in cli.err


def test_without_a_key_it_says_where_keys_come_from(cli: Cli) -> None:
    """No key anywhere is wrong use, named before anything is sent."""
    assert cli("tasks") == 2
    assert "NIGHTRATE_KEY" in cli.err
    assert "admin.key" in cli.err
