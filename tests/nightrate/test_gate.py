"""The gate: keys before everything else, the admin's routes, sizes, and the shape of every error."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from metering.access import Access
from metering.options import StorageOptions
from metering.store import ReadTimeout, Store
from nightrate.api import workspaces as workspaces_api
from nightrate.auth import Gatekeeping
from nightrate.keys import KeyRing, admin_key, digest, kept_secret, new_secret
from nightrate.login import LoginTokens
from nightrate.settings import SettingsError
from nightrate.web import service_routes, web_app
from nightrate.workspaces import Workspaces
from tests.nightrate.served import served

ADMIN_SECRET = "sk-nr-the-admin-of-this-test"
BODY_BYTES = 2000
STALL_SECONDS = 0.5


@dataclass
class House:
    """A running front door, without the other rooms."""

    url: str
    store: Store
    ring: KeyRing
    workspaces: Workspaces
    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    cancelled: list[str] = field(default_factory=list)

    def call(
        self, method: str, path: str, key: str | None = ADMIN_SECRET, **more: object
    ) -> requests.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        headers.update(more.pop("headers", {}))  # type: ignore[call-overload]
        return requests.request(method, self.url + path, headers=headers, timeout=30, **more)  # type: ignore[arg-type]

    def new_key(self, workspace_id: str = "default", **more: object) -> dict[str, str]:
        reply = self.call("POST", f"/v1/workspaces/{workspace_id}/keys", json={"name": "k", **more})
        assert reply.status_code == 200, reply.text
        return reply.json()


class Thing(BaseModel):
    """A body with a number."""

    count: int


def _probes() -> APIRouter:
    routes = APIRouter()

    @routes.get("/v1/whoami")
    def whoami(request: Request) -> dict[str, str | None]:
        access: Access = request.state.access
        return {"workspace": access.workspace_id, "key": access.key_id}

    @routes.post("/v1/things")
    def things(thing: Thing, size: int = Query(default=1, ge=1)) -> int:
        return thing.count * size

    @routes.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError("the secret of the house")

    @routes.get("/v1/slow")
    def slow() -> None:
        raise ReadTimeout("too slow")

    return routes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = Store(StorageOptions(data_dir=tmp_path), packages=("nightrate",))
    made: House

    def clock() -> datetime:
        return made.now

    ring = KeyRing(store, ADMIN_SECRET, clock)
    cancelled: list[str] = []
    workspaces = Workspaces(store, ring, clock, ["qwen-plus", "batch-test-model"], cancelled.append)
    made = House("", store, ring, workspaces, cancelled=cancelled)
    workspaces.ensure_default()
    keeping = Gatekeeping(
        ring.verify, ring.has_workspace, lambda token: token == "metrics", BODY_BYTES, 2 * BODY_BYTES
    )
    routers = [
        workspaces_api.router(workspaces),
        service_routes(
            lambda: (False, "starting"), lambda openmetrics: (b"# %d" % openmetrics, "text/plain")
        ),
        _probes(),
    ]
    app = web_app(
        version="1",
        keeping=keeping,
        routers=routers,
        start=lambda: None,
        stop=lambda: None,
        request_threads=4,
        stall_seconds=STALL_SECONDS,
    )
    with served(app) as made.url:
        yield made
    store.close()


def error_of(reply: requests.Response) -> dict[str, object]:
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"].startswith("req_")
    return body["error"]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/whoami", "/v1/nothing", "/v1/workspaces", "/v1//x"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_without_a_valid_key_everything_is_401(house: House, method: str, path: str) -> None:
    """Known route or not, whatever the method and the body."""
    for key in (None, "sk-nr-wrong", ADMIN_SECRET + "x"):
        reply = house.call(method, path, key, data=b"{not json")
        assert reply.status_code == 401
        assert error_of(reply)["code"] == "invalid_api_key"
        assert reply.headers["www-authenticate"] == "Bearer"


def test_a_key_says_who_is_asking(house: House) -> None:
    """The admin sees all workspaces, a workspace's key is its own."""
    key = house.new_key()
    assert house.call("GET", "/v1/whoami").json() == {"workspace": None, "key": None}
    assert house.call("GET", "/v1/whoami", key["secret"]).json() == {"workspace": "default", "key": key["id"]}


def test_health_is_open_and_the_root_leads_to_the_console(house: House) -> None:
    """Probes need no key; readiness tells why not."""
    assert house.call("GET", "/healthz", None).status_code == 200
    reply = house.call("GET", "/readyz", None)
    assert (reply.status_code, reply.json()["reason"]) == (503, "starting")
    reply = house.call("GET", "/", None, allow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (307, "/console/")


def test_metrics_take_the_admin_key_or_the_token(house: House) -> None:
    """A workspace's key may not see other workspaces' figures."""
    assert [
        house.call("GET", "/metrics", key).status_code for key in (None, "wrong", ADMIN_SECRET, "metrics")
    ] == [
        401,
        401,
        200,
        200,
    ]
    assert house.call("GET", "/metrics", house.new_key()["secret"]).status_code == 403
    assert house.call("GET", "/metrics", headers={"accept": "application/openmetrics-text"}).text == "# 1"
    assert house.call("GET", "/v1/whoami", "metrics").status_code == 401


def test_admin_routes_are_403_before_the_body_is_looked_at(house: House) -> None:
    """A workspace's key learns nothing from an admin's route, not even that its body was wrong."""
    key = house.new_key()["secret"]
    for method, path in [
        ("POST", "/v1/workspaces"),
        ("GET", "/v1/workspaces"),
        ("GET", "/v1/workspaces/default"),
        ("PATCH", "/v1/workspaces/none"),
        ("POST", "/v1/workspaces/default/keys"),
        ("DELETE", "/v1/workspaces/default/keys/x"),
    ]:
        reply = house.call(method, path, key, data=b"{not json")
        assert reply.status_code == 403, path
        assert error_of(reply)["type"] == "permission_error"


def test_a_foreign_or_unknown_workspace_is_404(house: House) -> None:
    """Naming another workspace shows nothing, not even whether there is one."""
    other = house.call("POST", "/v1/workspaces", json={"name": "other"}).json()["id"]
    key = house.new_key()["secret"]
    assert house.call("GET", "/v1/whoami?workspace_id=default", key).status_code == 200
    for named in (other, "none"):
        reply = house.call("GET", f"/v1/whoami?workspace_id={named}", key)
        assert (reply.status_code, error_of(reply)["param"]) == (404, "workspace_id")
    assert house.call("GET", f"/v1/whoami?workspace_id={other}").status_code == 200
    assert house.call("GET", "/v1/whoami?workspace_id=none").status_code == 404


def test_a_revoked_expired_or_disabled_key_is_refused_at_once(house: House) -> None:
    """The cache never outlives the fact."""
    revoked, disabled = house.new_key(), house.call("POST", "/v1/workspaces", json={"name": "b"}).json()["id"]
    expiring = house.new_key(expires_at=(house.now + timedelta(hours=1)).isoformat())
    of_disabled = house.new_key(disabled)["secret"]

    def allowed(secret: str) -> bool:
        return house.call("GET", "/v1/whoami", secret).status_code == 200

    assert all(map(allowed, [revoked["secret"], expiring["secret"], of_disabled]))
    assert house.call("DELETE", f"/v1/workspaces/default/keys/{revoked['id']}").json()["revoked_at"]
    assert not allowed(revoked["secret"])
    house.now += timedelta(hours=1)
    assert not allowed(expiring["secret"])
    assert house.call("PATCH", f"/v1/workspaces/{disabled}", json={"disabled": True}).json()["disabled"]
    assert not allowed(of_disabled)
    assert house.cancelled == [disabled]
    house.call("PATCH", f"/v1/workspaces/{disabled}", json={"disabled": False})
    assert allowed(of_disabled)


def test_a_session_ends_with_its_key(house: House) -> None:
    """What the console asks at each request."""
    made = house.new_key()
    access = Access("default", made["id"])
    assert house.ring.still_valid(access)
    assert house.ring.still_valid(Access(None, None))
    assert not house.ring.still_valid(Access("other", made["id"]))
    house.workspaces.revoke_key("default", made["id"])
    assert not house.ring.still_valid(access)


def test_a_large_body_is_413_whether_or_not_its_length_is_told(house: House) -> None:
    """JSON routes read at most `limits.request_body_bytes`."""
    reply = house.call("POST", "/v1/things", data=b" " * (BODY_BYTES + 1))
    assert (reply.status_code, error_of(reply)["code"]) == (413, "request_too_large")
    chunked = house.call("POST", "/v1/things", data=iter([b" " * BODY_BYTES, b" "]))
    assert (chunked.status_code, error_of(chunked)["code"]) == (413, "request_too_large")
    listed = house.call("POST", "/v1/backup", data=b" " * (BODY_BYTES + 1))
    assert listed.status_code == 404  # its own limit is not reached, and there is no such route here
    longer = house.call("POST", "/v1/backup", data=b" " * (2 * BODY_BYTES + 1))
    assert "limits.backup_list_bytes" in str(error_of(longer)["message"])


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("/v1/things", b"{", None, "invalid_json"),
        ("/v1/things", b"[]", None, "invalid_value"),
        ("/v1/things", b"{}", "count", "missing_required_parameter"),
        ("/v1/things", b'{"count": "x"}', "count", "invalid_value"),
        ("/v1/things?size=0", b'{"count": 1}', "size", "invalid_value"),
        ("/v1/things", b"\xff\xfe", None, "invalid_json"),
    ],
)
def test_a_refused_body_is_400_with_its_param(
    house: House, path: str, body: bytes, param: str | None, code: str
) -> None:
    """Never 422."""
    reply = house.call("POST", path, data=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert (error_of(reply)["param"], error_of(reply)["code"]) == (param, code)


def test_other_errors_have_the_same_shape(house: House) -> None:
    """Unknown paths, wrong methods, a slow database, and what nobody expected."""
    assert error_of(house.call("GET", "/v1/nothing"))["code"] == "not_found"
    assert house.call("PUT", "/v1/things").status_code == 405
    assert error_of(house.call("PUT", "/v1/things"))["code"] == "method_not_allowed"
    assert error_of(house.call("GET", "/nothing", None))["code"] == "not_found"
    slow = house.call("GET", "/v1/slow")
    assert (slow.status_code, error_of(slow)["code"]) == (503, "storage_unavailable")
    broken = house.call("GET", "/v1/broken")
    assert broken.status_code == 500
    assert "secret of the house" not in broken.text
    assert broken.headers["x-request-id"] in str(error_of(broken)["message"])


def test_the_description_names_the_key_and_the_errors(house: House) -> None:
    """A fuzzer finds the security scheme and no 422."""
    description = house.call("GET", "/openapi.json", None).json()
    operation = description["paths"]["/v1/things"]["post"]
    assert operation["security"] == [{"key": []}]
    assert "422" not in operation["responses"]
    assert {"400", "401", "403", "404", "503"} <= set(operation["responses"])
    assert house.call("GET", "/docs", None).status_code == 404


def test_secrets_are_stored_as_hashes_only(house: House, tmp_path: Path) -> None:
    """Who reads the database learns no key."""
    made = house.new_key()
    house.store.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert made["secret"].encode() not in content
    assert digest(made["secret"]).encode() in content
    assert made["secret"].startswith(made["prefix"])
    assert made["prefix"].startswith("sk-nr-")


def test_a_secret_file_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    """A mode that somebody loosened is taken back."""
    file = tmp_path / "data" / "admin.key"
    first = admin_key(tmp_path / "data", {})
    assert first.made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    again = admin_key(tmp_path / "data", {})
    assert (again.secret, again.made) == (first.secret, False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["admin.key"]
    assert kept_secret(tmp_path / "other.key", new_secret).secret != first.secret


def test_the_environment_may_give_the_admin_key(tmp_path: Path) -> None:
    """Then no file is made; a guessable one is refused."""
    assert admin_key(tmp_path, {"NIGHTRATE_ADMIN_KEY": "x" * 16}).secret == "x" * 16
    assert not list(tmp_path.iterdir())
    with pytest.raises(SettingsError, match="NIGHTRATE_ADMIN_KEY"):
        admin_key(tmp_path, {"NIGHTRATE_ADMIN_KEY": "short"})


def test_a_login_link_works_once_and_not_for_long() -> None:
    """A link that was used or lay around is worth nothing."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    tokens = LoginTokens(lambda: now[0], valid_seconds=60)
    token, late = tokens.issue(Access(None, None)), tokens.issue(Access(None, None))
    assert tokens.redeem(token) == Access(None, None)
    assert tokens.redeem(token) is None
    assert tokens.redeem("guess") is None
    now[0] += timedelta(seconds=60)
    assert tokens.redeem(late) is None
