"""The create dialogue: the check before submission, a table that becomes requests, what it would cost."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open
from tests.server import Server, request


def dialogue(page: Page, file: Path) -> Locator:
    page.get_by_role("button", name="Create Batch Task").click()
    opened = page.get_by_role("dialog", name="Create Batch Task")
    opened.get_by_label("Data file").set_input_files(file)
    return opened


def test_a_check_names_every_bad_line_and_keeps_nothing(
    open_console: Open, server: Server, tmp_path: Path
) -> None:
    """Before anything is submitted."""
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(request(1, "good") + b"{nope\n" + request(1, "twice"))
    before = len(server.get("/v1/files")["data"])
    opened = dialogue(open_console().page, bad)
    opened.get_by_role("button", name="Check").click()
    report = opened.get_by_role("status", name="Result of the check")
    expect(report).to_contain_text("2 faults")
    expect(report.locator('[data-field="line"]')).to_have_text(["line 2", "line 3"])
    assert len(server.get("/v1/files")["data"]) == before


def test_a_good_file_is_estimated(open_console: Open, server: Server, tmp_path: Path) -> None:
    """By the model's own history, at half and at the list price."""
    server.wait(server.submit([f"one two three {n} @in=100 @out=50" for n in range(4)]))
    good = tmp_path / "good.jsonl"
    good.write_bytes(b"".join(request(n, f"hello {n}") for n in range(1, 1001)))
    opened = dialogue(open_console().page, good)
    opened.get_by_role("button", name="Check").click()
    report = opened.get_by_role("status", name="Result of the check")
    expect(report).to_contain_text("1,000 requests for m, all in order.")
    expect(report).to_contain_text("Estimate:")
    expect(report).to_contain_text("instead of USD")


def test_a_table_becomes_a_task(open_console: Open, server: Server, tmp_path: Path) -> None:
    """Preview, columns by name, a model; and it runs. A bad row is named."""
    table = tmp_path / "questions.csv"
    table.write_text('key;topic;question\na1;x;"What; is it?"\na2;y;\n', "utf-8")
    watched = open_console()
    page = watched.page
    opened = dialogue(page, table)
    expect(opened.locator("[data-preview] td").first).to_have_text("key")
    opened.get_by_label("The first row holds names").check()
    expect(opened.locator("[data-preview] th")).to_have_text(["key", "topic", "question"])
    opened.get_by_label("Asked (column)").select_option(label="question")
    opened.get_by_label("custom_id (column)").select_option(label="key")
    opened.get_by_label("Model", exact=True).select_option("m")
    opened.get_by_role("button", name="Check").click()
    report = opened.get_by_role("status", name="Result of the check")
    expect(report).to_contain_text("the third column, what the user says, is empty")
    table.write_text('key;topic;question\na1;x;"What; is it?"\na2;y;Why?\n', "utf-8")
    opened.get_by_label("Data file").set_input_files(table)
    opened.get_by_label("The first row holds names").check()
    opened.get_by_label("Asked (column)").select_option(label="question")
    opened.get_by_label("Model", exact=True).select_option("m")
    opened.get_by_label("Task name").fill("From a table")
    opened.get_by_role("button", name="Create", exact=True).click()
    row = page.locator("tr[data-id]", has_text="From a table")
    expect(row.locator(".pill")).to_have_text("Completed")
    expect(row).to_have_attribute("data-completed", "2")
