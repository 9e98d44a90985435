"""The create dialogue: the check before submission, a table that becomes requests, what it would cost."""

from pathlib import Path

from playwright.sync_api import Locator, Page, Route, expect

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
    uploads = "/v1/files?purpose=batch&limit=10000"
    before = len(server.get(uploads)["data"])
    opened = dialogue(open_console().page, bad)
    opened.get_by_role("button", name="Check").click()
    report = opened.get_by_role("status", name="Result of the check")
    expect(report).to_contain_text("2 faults")
    expect(report.locator('[data-field="line"]')).to_have_text(["line 2", "line 3"])
    expect(report.locator("code").first).to_have_text("{nope")
    expect(report).to_be_in_viewport()
    assert len(server.get(uploads)["data"]) == before


def test_a_check_tells_of_what_is_chosen_alone(open_console: Open, tmp_path: Path) -> None:
    """What comes when another file was chosen meanwhile is not shown beside that one."""
    good, other = tmp_path / "good.jsonl", tmp_path / "other.jsonl"
    good.write_bytes(request(1, "good"))
    other.write_bytes(b"{nope\n")
    page, held = open_console().page, list[Route]()
    page.route("**/do/check*", lambda route: held.append(route))
    opened = dialogue(page, good)
    check, report = opened.locator("[data-check]"), opened.locator("[data-report]")
    check.click()
    opened.get_by_label("Data file").set_input_files(other)
    expect(opened.locator("[data-chosen]")).to_contain_text("other.jsonl")
    with page.expect_response("**/do/check*"):
        held.pop().continue_()
    expect(check).to_have_text("Check")
    expect(report).to_be_hidden()
    page.unroute("**/do/check*")
    check.click()
    expect(report).to_contain_text("1 fault")


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
    # The column that holds most text is likely what is asked, the first one what names a row.
    expect(opened.get_by_label("Asked (column)").locator("option:checked")).to_have_text("question")
    expect(opened.get_by_label("custom_id (column)").locator("option:checked")).to_have_text("key")
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


def test_a_file_is_dropped_on_the_dialogue(page: Page, server: Server) -> None:
    """As good as chosen; it names the task that has no name yet."""
    page.get_by_role("button", name="Create Batch Task").click()
    opened = page.get_by_role("dialog", name="Create Batch Task")
    page.evaluate(
        """line => {
          const carried = new DataTransfer();
          carried.items.add(new File([line], "Dropped here.jsonl"));
          const place = document.querySelector("[data-drop]");
          for (const kind of ["dragover", "drop"]) place.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
        }""",
        request(1, "dropped").decode(),
    )
    expect(opened.locator("[data-chosen]")).to_have_text("Dropped here.jsonl, 147 bytes")
    expect(opened.get_by_label("Task name")).to_have_value("Dropped here")
    opened.get_by_role("button", name="Create", exact=True).click()
    expect(page.locator("tr[data-id]", has_text="Dropped here").locator(".pill")).to_have_text("Completed")


def test_a_task_is_cloned(page: Page, server: Server) -> None:
    """The dialogue holds what it was made of; the same data is checked, estimated and asked again."""
    made = {"ds_name": "Original", "ds_description": "What it is for", "team": "search"}
    task_id = server.wait(server.submit(["one", "two"], metadata=made, completion_window="72h"))["id"]
    page.goto(f"{server.url}/console/tasks/{task_id}")
    page.get_by_role("button", name="Clone").click()
    opened = page.get_by_role("dialog", name="Clone task")
    expect(opened.get_by_label("Task name")).to_have_value("Original (copy)")
    expect(opened.get_by_label("Description")).to_have_value("What it is for")
    expect(opened.get_by_label("Longest wait")).to_have_value("3")
    opened.get_by_role("button", name="Check").click()
    expect(opened.get_by_role("status")).to_contain_text("2 requests for m, all in order.")
    opened.get_by_role("button", name="Create", exact=True).click()
    row = page.locator("tr[data-id]", has_text="Original (copy)")
    expect(row).to_have_attribute("data-completed", "2")
    copy = server.get(f"/v1/batches/{row.get_attribute('data-id')}")
    assert copy["input_file_id"] == server.get(f"/v1/batches/{task_id}")["input_file_id"]
    assert copy["metadata"] == {**made, "ds_name": "Original (copy)"}


def test_a_task_whose_file_is_gone_is_cloned_with_another(page: Page, server: Server, tmp_path: Path) -> None:
    """The dialogue says so and asks for one."""
    task_id = server.wait(server.submit(["one"], metadata={"ds_name": "Without its file"}))["id"]
    server.client().files.delete(server.get(f"/v1/batches/{task_id}")["input_file_id"])
    page.goto(f"{server.url}/console/tasks/{task_id}")
    page.get_by_role("button", name="Clone").click()
    opened = page.get_by_role("dialog", name="Clone task")
    expect(opened).to_contain_text("The data file of that task is gone")
    opened.get_by_role("button", name="Create", exact=True).click()
    expect(opened.get_by_role("alert")).to_have_text("Choose a data file.")
