"""Settings: workspaces, what they may and cost at most, keys, models."""

from playwright.sync_api import expect

from tests.browser.conftest import Open, post
from tests.server import Server


def test_a_revoked_key_s_page_goes_to_the_login(open_console: Open, tenant: dict[str, str]) -> None:
    """By itself, at its next look; the admin revoked it in Settings, where it was asked about."""
    watched, admin = open_console(tenant["key"]), open_console()
    page = admin.visit(f"settings?workspace={tenant['workspace']}")
    page.locator(f'tr[data-id="{tenant["key_id"]}"]').get_by_role("button", name="Revoke").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Revoke").click()
    expect(page.locator(f'tr[data-id="{tenant["key_id"]}"]')).to_contain_text("Revoked")
    expect(watched.page.get_by_label("API key")).to_be_visible()


def test_a_new_key_is_shown_once(open_console: Open) -> None:
    """Made in Settings for a workspace made there, it signs in; a reload does not show it again."""
    page = open_console().visit("settings")
    page.get_by_label("Name", exact=True).fill("Made here")
    page.get_by_role("button", name="Create workspace").click()
    panel = page.get_by_role("region", name="Keys of Made here")
    panel.get_by_label("Key name").fill("first")
    panel.get_by_label("Expires").select_option(label="in 90 days")
    panel.get_by_role("button", name="Create key").click()
    shown = page.get_by_role("dialog", name="Copy this key now")
    expect(shown.locator("code")).to_contain_text("sk-")
    secret = shown.locator("code").inner_text()
    shown.get_by_role("button", name="Done").click()
    expect(panel.locator("tr[data-id]")).to_contain_text("first")
    expect(panel.locator('[data-field="expires_at"]')).not_to_have_text("never")
    open_console(secret)
    page.reload()
    expect(panel.locator("tr[data-id]")).to_contain_text("first")
    expect(page.get_by_text(secret)).to_have_count(0)


def test_the_terms_of_a_workspace_are_set(open_console: Open, server: Server) -> None:
    """Name, budget, models and webhook; a fault is told beside the fields, and what stays keeps its secret."""
    page = open_console().visit("settings")
    page.get_by_label("Name", exact=True).fill("To be set")
    page.get_by_role("button", name="Create workspace").click()
    form = page.get_by_role("region", name="Terms of To be set")
    form.get_by_label("Currency").fill("us")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).to_contain_text("three capital letters")
    form.get_by_label("Currency").fill("usd")
    form.get_by_label("Budget a month").fill("1,250.50")
    form.get_by_label("Webhook URL").fill("https://hooks.example/nightrate")
    form.get_by_label("Every model").uncheck()
    form.get_by_label("batch-test-model").uncheck()
    form.get_by_role("button", name="Save").click()
    secret = page.get_by_role("dialog", name="Copy the secret that signs its webhooks")
    expect(secret.locator("code")).to_contain_text("whsec_")
    secret.get_by_role("button", name="Done").click()
    identity = page.url.partition("workspace=")[2]
    made = server.get(f"/v1/workspaces/{identity}")
    assert (made["currency"], made["budget"], made["allowed_models"]) == ("USD", "1250.5", ["m"])
    form.get_by_label("Workspace name").fill("Set")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Terms of Set")).to_be_visible()
    expect(secret).to_be_hidden()
    row = page.locator(f'tr[data-id="{identity}"]')
    expect(row.locator('[data-field="budget"]')).to_contain_text("of 1,250.50")
    page.get_by_role("region", name="Terms of Set").locator("form").evaluate(SAVES_TWICE)
    expect(page.get_by_role("region", name="Terms of Set").get_by_role("button", name="Save")).to_be_visible()


SAVES_TWICE = """form => new Promise(done => {
    const button = form.querySelector("[type=submit]");
    const seen = new MutationObserver(() => {
        if (button.textContent !== "Done" || button.disabled) return;
        seen.disconnect();
        setTimeout(() => { form.requestSubmit(); done(); });
    });
    seen.observe(button, { childList: true, attributes: true });
    form.requestSubmit();
})"""
"""The second time while the button still says that the first is done."""


def test_what_is_typed_stays_when_the_page_is_drawn_again(open_console: Open, server: Server) -> None:
    """Though beside it something was changed meanwhile; a form of another workspace is another form."""
    made = post(server, "/v1/workspaces", {"name": "Typed in"})["id"]
    page = open_console().visit(f"settings?workspace={made}")
    form = page.get_by_role("region", name="Terms of Typed in")
    form.get_by_label("Every model").uncheck()
    name = page.get_by_label("Key name")
    name.fill("half a na")
    server.client().patch(f"/workspaces/{made}", body={"budget": "17.5"}, cast_to=object)
    post(server, f"/v1/workspaces/{made}/keys", {"name": "meanwhile"})
    page.evaluate("nightrate.redraw()")
    expect(form.get_by_label("Budget a month")).to_have_value("17.5")
    expect(page.get_by_role("region", name="Keys of Typed in").locator("tr[data-id]")).to_contain_text(
        "meanwhile"
    )
    expect(form.get_by_label("Every model")).not_to_be_checked()
    page.keyboard.type("me")
    expect(name).to_have_value("half a name")
    page.get_by_role("link", name="Manage Default Workspace").click()
    expect(page.get_by_role("region", name="Keys of Default Workspace")).to_be_visible()
    expect(name).to_have_value("")


def test_models_tell_their_upstreams_and_prices(open_console: Open, server: Server) -> None:
    """Health from the engine, the price in force, and half of it."""
    page = open_console().visit("settings")
    row = page.locator('tr[data-id="m"]')
    expect(row.locator('[data-field="upstream_up"]')).to_have_attribute("data-value", "1")
    expect(row.locator('[data-field="input"]')).to_contain_text("USD 1.5 0.75")
