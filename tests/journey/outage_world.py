"""Models that all break at once, each in its own way, beside one that goes on; on a real service over HTTP."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.behaviour import Behaviour
from tests.outages import FAULTS, begin, end
from tests.server import Server, request
from tests.upstream import Upstream

LIMITED = "answers 429"
STEADY = "m"
ENDPOINT = "/v1/chat/completions"
MODEL = """
[[models]]
name = "{name}"
upstreams = ["{url}"]
max_concurrency = 16
timeout_seconds = 2
free = true
"""


@dataclass
class Victim:
    """A model, its upstream, and its task."""

    model: str
    fault: str
    upstream: Upstream
    task_id: str = ""
    told_after: float = 0.0
    """Seconds from the fault until the batch object said it."""
    resumed_after: float = 0.0
    """Seconds from its end until more was done."""

    def breaks(self) -> None:
        if self.fault == LIMITED:
            self.upstream.rule = lambda _: Behaviour(status=429)
        else:
            begin(self.upstream, self.fault)

    def told(self, batch: Any) -> bool:
        """Whether the batch object says what is wrong, and with whom."""
        waiting = batch["nightrate"]["waiting"] or {}
        wanted = ("rate_limit", None) if self.fault == LIMITED else ("outage", self.upstream.url)
        return (waiting.get("reason"), waiting.get("upstream")) == wanted


class World:
    """One task for each fault and a steady one, all under way."""

    def __init__(self, server: Server, steady: Upstream, victims: list[Victim]) -> None:
        self.server, self.steady, self.victims = server, steady, victims

    @classmethod
    @contextmanager
    def serving(cls, folder: Path) -> Iterator[Self]:
        """One attempt is allowed: if an outage used up any, its request would fail."""
        with ExitStack() as stack:
            steady = stack.enter_context(Upstream())
            victims = [
                Victim(f"model-{number}", fault, stack.enter_context(Upstream()))
                for number, fault in enumerate((*FAULTS, LIMITED))
            ]
            more = "".join(MODEL.format(name=each.model, url=each.upstream.url) for each in victims)
            server = Server(folder, steady.url, executor="max_attempts = 1", more=more)
            yield cls(stack.enter_context(server), steady, victims)

    def submit(self, requests: int, steady_requests: int) -> None:
        """Tasks whose requests take 50 to 450 ms, and waits until all are in the middle."""
        asked = {each.model: [_line(n, each.model) for n in range(requests)] for each in self.victims}
        asked[STEADY] = [_line(n, STEADY) for n in range(steady_requests)]
        client = self.server.client()
        files = {  # all before any begins, so that none is over before the last one is in its middle
            model: client.files.create(file=("in.jsonl", b"".join(lines)), purpose="batch").id
            for model, lines in asked.items()
        }
        tasks = {
            model: client.batches.create(input_file_id=file, endpoint=ENDPOINT, completion_window="24h").id
            for model, file in files.items()
        }
        for each in self.victims:
            each.task_id = tasks[each.model]
        self.steady_id = tasks[STEADY]
        for each in self.victims:
            self.server.until(lambda each=each: self.completed(each.task_id), lambda done: done >= 48)

    def begin(self) -> None:
        """Everything breaks; returns when each batch object tells how."""
        begun = time.monotonic()
        for each in self.victims:
            each.breaks()
        for each in self._as_they(lambda each: each.told(self.batch(each.task_id))):
            each.told_after = time.monotonic() - begun

    def end(self) -> None:
        """Everything is mended; returns when each task gets on."""
        before = {each.model: self.completed(each.task_id) for each in self.victims}
        ended = time.monotonic()
        for each in self.victims:
            end(each.upstream)
        for each in self._as_they(lambda each: self.completed(each.task_id) > before[each.model]):
            each.resumed_after = time.monotonic() - ended

    def _as_they(self, do: Callable[[Victim], bool]) -> Iterator[Victim]:
        """The victims, each as soon as that is so."""
        waiting, deadline = list(self.victims), time.monotonic() + 60
        while waiting:
            for each in [each for each in waiting if do(each)]:
                waiting.remove(each)
                yield each
            assert time.monotonic() < deadline, [each.fault for each in waiting]
            time.sleep(0.02)

    def batch(self, task_id: str) -> Any:
        return self.server.get(f"/v1/batches/{task_id}")

    def completed(self, task_id: str) -> int:
        return int(self.batch(task_id)["request_counts"]["completed"])

    def upstreams_up(self) -> dict[str, int]:
        """What `/metrics` says of each model's upstream."""
        page = self.server.get("/metrics").splitlines()
        rows = [line for line in page if line.startswith("nightrate_upstream_up{")]
        return {row.partition('model="')[2].partition('"')[0]: int(float(row.split()[-1])) for row in rows}


def _line(number: int, model: str) -> bytes:
    latency = 0.05 + number % 9 * 0.05
    return request(number, f"{model} {number} @latency={latency:.2f}", model=model)
