"""Who wants to know that a task has ended is told, on a real service, by the receiver's clock and libraries."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import requests
from standardwebhooks.webhooks import Webhook

from tests.receiver import Post, Receiver
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

QUICK = """
[webhooks]
allow_networks = ["127.0.0.0/8"]
first_retry_seconds = 0.1
longest_retry_seconds = 0.2
timeout_seconds = 1
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("told"), upstream.url, more=QUICK) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


def call(server: Server, method: str, path: str, body: object) -> requests.Response:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    answer = requests.request(method, f"{server.url}/v1/{path}", json=body, headers=headers, timeout=30)
    assert answer.ok, answer.text
    return answer


def workspace_with_webhook(server: Server, url: str) -> tuple[str, str]:
    """A key of a new workspace whose webhook is at this URL, and the secret that signs."""
    made = call(server, "POST", "workspaces", {"name": "Told"}).json()
    secret = call(server, "PATCH", f"workspaces/{made['id']}", {"webhook_url": url}).json()["webhook_secret"]
    return call(server, "POST", f"workspaces/{made['id']}/keys", {"name": "k"}).json()["secret"], secret


def callback(url: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"ds_batch_finish_callback": url}}


def refused(log: str, name: str) -> bool:
    """Whether the log says that nothing may go to this host, and how to allow it."""
    return any(
        f" {name.strip('[]')} could not be told" in line and "[webhooks] allow_networks" in line
        for line in log.splitlines()
    )


def spoil(server: Server, secret: str) -> None:
    """Sets every webhook's secret in the database of the stopped service."""
    with duckdb.connect(server.folder / "data" / "nightrate.duckdb") as database:
        database.execute("UPDATE workspaces SET webhook_secret = ? WHERE webhook_url IS NOT NULL", [secret])


def event_of(post: Post) -> dict[str, object]:
    event: dict[str, object] = json.loads(post.body)
    return event


def test_both_addresses_are_told_and_openais_sdk_believes_it(server: Server, receiver: Receiver) -> None:
    """Webhook and callback get one signed event each, in OpenAI's shape, once the end can be seen."""
    key, secret = workspace_with_webhook(server, f"{receiver.url}/webhook")
    task_id = server.submit(["a"], key, **callback(f"{receiver.url}/callback?token=t"))
    posts = [receiver.wait("/webhook")[0], receiver.wait("/callback?token=t")[0]]
    ended = server.get(f"/v1/batches/{task_id}")
    assert ended["status"] == "completed"
    for post in posts:
        event = server.client().webhooks.unwrap(post.body, post.headers, secret=secret)
        assert (event.type, event.data.id, event.object) == ("batch.completed", task_id, "event")
        assert abs(event.created_at - ended["completed_at"]) <= 1
        assert Webhook(secret).verify(post.body, post.headers) == event_of(post)
        assert post.headers["content-type"] == "application/json"
    assert len({post.headers["webhook-id"] for post in posts}) == 2
    time.sleep(0.5)
    assert len(receiver.posts) == 2, "told twice"
    assert "token=t" not in server.log.read_text()


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_every_end_is_told(server: Server, receiver: Receiver, how: str) -> None:
    """A task that never ran is over too."""
    prompts = ["x @hang"] if how == "cancelled" else []
    task_id = server.submit(prompts, **callback(f"{receiver.url}/{how}"))
    if how == "cancelled":
        server.client().batches.cancel(task_id)
    event = event_of(receiver.wait(f"/{how}")[0])
    assert (event["type"], event["data"]) == (f"batch.{how}", {"id": task_id})


def test_without_a_webhook_there_is_no_secret_and_no_signature(server: Server, receiver: Receiver) -> None:
    """A callback alone is told all the same; what can't be verified isn't signed with anything."""
    server.submit(["a"], **callback(f"{receiver.url}/plain"))
    headers = receiver.wait("/plain")[0].headers
    assert headers["webhook-id"].startswith("evt_")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in headers


def test_what_is_not_taken_is_sent_again_under_the_same_id(server: Server, receiver: Receiver) -> None:
    """Errors, redirects and silence are no deliveries; the event stays the same, signed anew each time."""
    answers = [500, 302, 0, 404, 204]
    receiver.answer = lambda path, before: answers[min(before, 4)] if path == "/hook" else 200
    key, secret = workspace_with_webhook(server, f"{receiver.url}/hook")
    server.submit(["a"], key)
    posts = receiver.wait("/hook", 5)
    assert len({(post.headers["webhook-id"], post.body) for post in posts}) == 1
    for post in posts:
        Webhook(secret).verify(post.body, post.headers)
    time.sleep(0.5)
    assert len(receiver.posts) == 5, "taken, and sent again; or the redirect was followed"


def test_who_is_gone_is_asked_no_more(server: Server, receiver: Receiver) -> None:
    """410 ends it."""
    receiver.answer = lambda path, before: 410
    server.submit(["a"], **callback(f"{receiver.url}/gone"))
    receiver.wait("/gone")
    time.sleep(0.6)
    assert len(receiver.posts) == 1


def test_a_slow_receiver_holds_up_nobody(server: Server, receiver: Receiver) -> None:
    """Twenty tasks tell somebody who never answers, more than are told at once; another is told meanwhile."""
    receiver.answer = lambda path, before: 0 if path == "/slow" else 200
    for _ in range(20):
        server.submit(["a"], **callback(f"{receiver.url}/slow"))
    receiver.wait("/slow", 16)
    server.submit(["a"], **callback(f"{receiver.url}/quick"))
    receiver.wait("/quick")
    assert server.stop() == 0, "it stops in spite of them"
    server.start()


def test_a_restart_forgets_nobody(server: Server, receiver: Receiver) -> None:
    """The receiver is away when the task ends, the service is killed, both come back."""
    receiver.stop()
    task_id = server.submit(["a"], **callback(f"{receiver.url}/later"))
    server.wait(task_id)
    server.kill()
    server.start()
    receiver.start()
    assert event_of(receiver.wait("/later")[0])["data"] == {"id": task_id}


def test_a_fault_of_ours_is_tried_again_later(upstream: Upstream, receiver: Receiver, tmp_path: Path) -> None:
    """Whatever goes wrong before anything is sent: it waits as long as after any other failure, and is told then."""
    server = Server(tmp_path, upstream.url, more=QUICK.replace("0.1", "2").replace("0.2", "4"))
    with server:
        key, secret = workspace_with_webhook(server, f"{receiver.url}/hook")
    spoil(server, "whsec_")
    with server:
        server.submit(["a"], key)
        server.until(server.log.read_text, lambda log: "a fault of the service" in log)
        time.sleep(0.5)
        assert server.log.read_text().count("a fault of the service") == 1
    spoil(server, secret)
    with server:
        Webhook(secret).verify(receiver.wait("/hook")[0].body, receiver.wait("/hook")[0].headers)


def test_only_where_the_operator_allows(upstream: Upstream, receiver: Receiver, tmp_path: Path) -> None:
    """Without a setting nothing goes to loopback, whatever it is called; the log says how to allow it."""
    with Server(tmp_path, upstream.url, more="[webhooks]\nfirst_retry_seconds = 0.1") as server:
        names = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[64:ff9b::7f00:1]")
        for name in names:
            server.submit(["a"], **callback(f"http://{name}:{receiver.port}/inside"))
        server.until(server.log.read_text, lambda log: all(refused(log, name) for name in names))
    assert not receiver.posts


def test_after_a_while_it_is_given_up(upstream: Upstream, receiver: Receiver, tmp_path: Path) -> None:
    """A receiver that never takes it is asked for `give_up_after_seconds` and no longer."""
    receiver.answer = lambda path, before: 503
    with Server(tmp_path, upstream.url, more=QUICK + "give_up_after_seconds = 3") as server:
        server.submit(["a"], **callback(f"{receiver.url}/never"))
        first = receiver.wait("/never")[0]
        server.until(lambda: server.log.read_text(), lambda log: "given up" in log)
        posts = len(receiver.posts)
        assert posts > 2
        assert receiver.posts[-1].at - first.at >= 0.5
        time.sleep(0.6)
        assert len(receiver.posts) == posts
