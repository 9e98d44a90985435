"""Workspaces through their routes: what can be set, what is refused, and how lists go on."""

from datetime import timedelta

import pytest

from metering.store import Store
from tests.nightrate.test_gate import House, error_of, house

__all__ = ["house"]  # the fixture


def task_row(status: str) -> dict[str, object]:
    return {
        "id": f"batch_{status}",
        "workspace_id": "default",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": status,
    }


def add_task(store: Store, house: House, status: str) -> None:
    row = {**task_row(status), "created_at": house.now, "expires_at": house.now + timedelta(days=1)}
    store.write(lambda tx: tx.insert("tasks", [row]))


def test_default_always_exists(house: House) -> None:
    """And making sure of it twice changes nothing."""
    house.workspaces.ensure_default()
    listed = house.call("GET", "/v1/workspaces").json()
    assert [row["id"] for row in listed["data"]] == ["default"]
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert (listed["first_id"], listed["last_id"]) == ("default", "default")


def test_a_workspace_is_made_read_and_changed(house: House) -> None:
    """Fields that are left out stay; a money amount is a decimal string."""
    made = house.call("POST", "/v1/workspaces", json={"name": " Team A "}).json()
    assert (made["name"], made["disabled"], made["budget"], made["allowed_models"]) == (
        "Team A",
        False,
        None,
        None,
    )
    path = f"/v1/workspaces/{made['id']}"
    changes = {"currency": "CNY", "budget": "250.50", "allowed_models": ["qwen-plus", "qwen-plus"]}
    changed = house.call("PATCH", path, json=changes).json()
    assert (changed["currency"], changed["budget"], changed["allowed_models"]) == (
        "CNY",
        "250.5",
        ["qwen-plus"],
    )
    house.call("PATCH", path, json={"budget": 1000000, "name": "B"})
    read = house.call("GET", path).json()
    assert (read["name"], read["budget"], read["currency"]) == ("B", "1000000", "CNY")
    assert house.call("PATCH", path, json={"allowed_models": None}).json()["allowed_models"] is None


def test_the_webhook_secret_is_told_once(house: House) -> None:
    """Reading the workspace doesn't show it again; clearing the URL clears it."""
    path = "/v1/workspaces/default"
    told = house.call("PATCH", path, json={"webhook_url": "https://example.com/hook"}).json()
    assert told["webhook_secret"].startswith("whsec_")
    assert house.call("GET", path).json()["webhook_secret"] is None
    assert house.call("PATCH", path, json={"name": "x"}).json()["webhook_secret"] is None
    assert house.call("PATCH", path, json={"webhook_url": None}).json()["webhook_url"] is None


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"currency": "usd"}, "currency"),
        ({"budget": "0"}, "budget"),
        ({"budget": "NaN"}, "budget"),
        ({"budget": "-1"}, "budget"),
        ({"budget": "0.0000000000000001"}, "budget"),
        ({"budget": "1e30"}, "budget"),
        ({"allowed_models": ["qwen"]}, "allowed_models"),
        ({"webhook_url": "ftp://x"}, "webhook_url"),
        ({"webhook_url": "http://"}, "webhook_url"),
        ({"webhook_url": "http://[x"}, "webhook_url"),
        ({"webhook_url": "http://x\ud800"}, "webhook_url"),
        ({"webhook_url": "http://x/a b"}, "webhook_url"),
        ({"disabled": None}, "disabled"),
        ({"colour": 1}, "colour"),
    ],
)
def test_an_unacceptable_field_is_refused_by_name(
    house: House, changes: dict[str, object], param: str
) -> None:
    """And nothing of the call is done."""
    before = house.call("GET", "/v1/workspaces/default").json()
    reply = house.call("PATCH", "/v1/workspaces/default", json=changes)
    assert (reply.status_code, error_of(reply)["param"]) == (400, param)
    assert house.call("GET", "/v1/workspaces/default").json() == before


@pytest.mark.parametrize(("status", "expected"), [("in_progress", 409), ("completed", 200)])
def test_the_currency_of_a_workspace_at_work_is_fixed(house: House, status: str, expected: int) -> None:
    """Running tasks were promised a price; the same currency again is no change."""
    house.call("PATCH", "/v1/workspaces/default", json={"currency": "USD"})
    add_task(house.store, house, status)
    assert house.call("PATCH", "/v1/workspaces/default", json={"currency": "USD"}).status_code == 200
    reply = house.call("PATCH", "/v1/workspaces/default", json={"currency": "CNY"})
    assert reply.status_code == expected
    if expected == 409:
        assert error_of(reply)["code"] == "currency_in_use"


def test_running_tasks_are_those_that_can_be_cancelled(house: House) -> None:
    """What disabling a workspace cancels."""
    for status in ("validating", "in_progress", "finalizing", "completed"):
        add_task(house.store, house, status)
    assert set(house.workspaces.running_tasks("default")) == {"batch_validating", "batch_in_progress"}


def test_lists_go_on_after_a_row(house: House) -> None:
    """Cursors neither skip nor repeat, even for rows of the same moment."""
    for number in range(4):
        house.call("POST", "/v1/workspaces", json={"name": f"w{number}"})
    seen: list[str] = []
    after = ""
    while True:
        page = house.call("GET", f"/v1/workspaces?limit=2{after}").json()
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert len(seen) == len(set(seen)) == 5
    assert house.call("GET", "/v1/workspaces?limit=0").status_code == 400
    for path in ("/v1/workspaces?after=none", "/v1/workspaces/default/keys?after=none"):
        assert error_of(house.call("GET", path))["param"] == "after"


def test_keys_are_listed_without_their_secrets(house: House) -> None:
    """A revoked key stays in the list; revoking twice keeps the first moment."""
    made = house.new_key()
    assert made["secret"]
    house.now += timedelta(minutes=5)
    path = f"/v1/workspaces/default/keys/{made['id']}"
    first = house.call("DELETE", path).json()["revoked_at"]
    house.now += timedelta(minutes=5)
    assert house.call("DELETE", path).json()["revoked_at"] == first
    (listed,) = house.call("GET", "/v1/workspaces/default/keys").json()["data"]
    assert (listed["secret"], listed["revoked_at"], listed["prefix"]) == (None, first, made["prefix"])


def test_unknown_ids_are_404_and_a_past_expiry_400(house: House) -> None:
    """Each with OpenAI's shape."""
    for method, path in [
        ("GET", "/v1/workspaces/none"),
        ("PATCH", "/v1/workspaces/none"),
        ("GET", "/v1/workspaces/none/keys"),
        ("POST", "/v1/workspaces/none/keys"),
        ("DELETE", "/v1/workspaces/default/keys/none"),
    ]:
        assert error_of(house.call(method, path, json={"name": "x"}))["code"] == "not_found", path
    reply = house.call("POST", "/v1/workspaces/default/keys", json={"name": "k", "expires_at": 1})
    assert (reply.status_code, error_of(reply)["param"]) == (400, "expires_at")
