"""A closed month proved years later from a folder of exports, without service or database."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.exported_folder import ExportedFolder, ExportedFolderError
from tests.metering.golden_month import FOLDER as GOLDEN
from tests.metering.golden_month import golden_file, golden_ledger

MARCH = "2026-03"
STATEMENT, CHARGES = f"statement-{MARCH}.json", f"charges-{MARCH}.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The exports of the closed golden month, as `nightrate export` names them."""
    for name in (STATEMENT, CHARGES):
        shutil.copy(GOLDEN / name, tmp_path)
    return tmp_path


def test_a_closed_month_is_proved(folder: Path) -> None:
    """By its statements and charges; numbers and hashes are told, to be held beside the paper."""
    assert ExportedFolder(folder).periods() == [MARCH]
    found = ExportedFolder(folder).verify(MARCH)
    assert (found["verified"], found["differences"]) == (True, [])
    frozen = json.loads((folder / STATEMENT).read_text("utf-8"))
    assert [one["sha256"] for one in found["statements"]] == [one["sha256"] for one in frozen]
    assert [one["payable"] for one in found["statements"]] == [one["payable"] for one in frozen]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_charges_may_be_in_any_exact_format(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, form: str
) -> None:
    """Also under the names that a browser gives them."""
    (folder / CHARGES).unlink()
    with golden_ledger(tmp_path_factory.mktemp("ledger")) as store:
        (folder / f"nightrate-charges-{MARCH}.{form}").write_bytes(golden_file(store, "charges", form, MARCH))
    assert ExportedFolder(folder).verify(MARCH)["verified"]


def _swap(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), "utf-8")

    return damage


def _less_charges(folder: Path) -> None:
    lines = (folder / CHARGES).read_text("utf-8").splitlines(keepends=True)
    (folder / CHARGES).write_text("".join(lines[:-1]), "utf-8")


def _more_charges(folder: Path) -> None:
    lines = (folder / CHARGES).read_text("utf-8").splitlines(keepends=True)
    (folder / CHARGES).write_text("".join([*lines, lines[-1]]), "utf-8")


def _without(number: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        found = json.loads((folder / STATEMENT).read_text("utf-8"))
        del found[number]
        (folder / STATEMENT).write_text(json.dumps(found), "utf-8")

    return damage


DAMAGES = [
    (_swap(STATEMENT, '"customer": "Research"', '"customer": "Somebody"'), "NR-000001: sha256 is"),
    (_swap(STATEMENT, '"payable": "3.18"', '"payable": "2.18"'), "NR-000001: payable is"),
    (_swap(STATEMENT, '"unmetered_requests": 1', '"unmetered_requests": 0'), "NR-000001: sha256 is"),
    (_swap(STATEMENT, '"number": "NR-000002"', '"number": "NR-000009"'), "NR-000009: sha256 is"),
    (_swap(STATEMENT, '"period": "2026-03"', '"period": "2026-02"'), "period is 2026-02, its file is of 2026-03"),
    (_swap(STATEMENT, '"status": "final"', '"status": "draft"'), "only a closed month"),
    (_swap(CHARGES, '"0.0516"', '"0.0416"'), "amount is 0.0416, tokens and list price give 0.0516"),
    (_swap(CHARGES, "129000", "129001"), "list_amount is 0.1032, tokens and list price give 0.1032008"),
    (_swap(CHARGES, '"2026-03","cc1', '"2026-02","cc1'), "period is 2026-02"),
    (_swap(CHARGES, '"ws_1"', '"ws_2"'), "recomputed"),
    (_swap(CHARGES, '"CNY"', '"JPY"'), "and no statement"),
    (_less_charges, "recomputed"),
    (_more_charges, "recomputed"),
    (_without(0), "there are charges of ws_1 in CNY, and no statement"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[said for _, said in DAMAGES])
def test_every_change_is_found(folder: Path, damage: Callable[[Path], None], said: str) -> None:
    """In either file, with its place."""
    damage(folder)
    found = ExportedFolder(folder).verify(MARCH)
    assert not found["verified"]
    assert any(said in one for one in found["differences"]), found["differences"]


def _spreadsheet(folder: Path) -> None:
    text = (folder / CHARGES).read_text("utf-8")
    (folder / CHARGES).write_text("\ufeff" + text, "utf-8")


UNREADABLE = [
    (lambda folder: (folder / CHARGES).unlink(), "write it with `nightrate export charges --period 2026-03"),
    (
        lambda folder: (folder / STATEMENT).unlink(),
        "nightrate export statement --period 2026-03 --format json",
    ),
    (lambda folder: shutil.copy(folder / CHARGES, folder / f"nightrate-{CHARGES}"), "keep one of them"),
    (_spreadsheet, "--profile machine"),
    (lambda folder: (folder / STATEMENT).write_text("{}"), "is not an export of statements"),
    (lambda folder: (folder / STATEMENT).write_text("[1]"), "is not an export of statements"),
    (lambda folder: (folder / CHARGES).write_text("a,b\n1,2\n"), "line 2: is no charge"),
    (lambda folder: (folder / CHARGES).write_bytes(b"\xff\xfe"), "can't decode byte 0xff"),
    (lambda folder: (folder / CHARGES).rename(folder / f"charges-{MARCH}.jsonl"), "line 1: is no charge"),
    (lambda folder: (folder / CHARGES).rename(folder / f"charges-{MARCH}.parquet"), "export it again"),
]


@pytest.mark.parametrize(("damage", "said"), UNREADABLE, ids=[said for _, said in UNREADABLE])
def test_what_can_not_be_checked_says_what_to_export(
    folder: Path, damage: Callable[[Path], object], said: str
) -> None:
    """Never a traceback, never a silent yes."""
    damage(folder)
    with pytest.raises(ExportedFolderError) as refused:
        ExportedFolder(folder).verify(MARCH)
    assert said in str(refused.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """And an empty one has no months."""
    assert ExportedFolder(tmp_path).periods() == []
    with pytest.raises(ExportedFolderError, match="is not a folder"):
        ExportedFolder(tmp_path / "gone").periods()
