"""What the teams of the demo run again and again, and the input files of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from nightrate.demo.faults import Fault, seed_of
from nightrate.demo.models import BY_NAME

HOME = "Default Workspace"
WORKSPACES = (HOME, "Support desk", "Search team", "Research")


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of task."""

    name: str
    workspace: str
    model: str
    system: str
    """What the model is told to do."""
    item: str
    """One thing to do it with; `{n}` is its number."""
    requests: int
    """Of a usual task."""
    max_tokens: int = 0
    faults: Mapping[Fault, float] = field(default_factory=dict)
    """Which part of its requests goes wrong."""

    @property
    def endpoint(self) -> str:
        """The endpoint that its model serves."""
        return BY_NAME[self.model].endpoint


USUAL: Mapping[Fault, float] = {"busy_once": 0.004, "breaks_once": 0.003}
JOBS = (
    Job(
        "Ticket labels",
        "Support desk",
        "qwen-flash",
        "Give the ticket one label of the list and a priority.",
        "Ticket {n}: the parcel came, the invoice did not. Who can send it again?",
        130,
        28,
        {**USUAL, "stopped": 0.004},
    ),
    Job(
        "Reply drafts",
        "Support desk",
        "qwen-plus",
        "Write a friendly answer in the customer's language.",
        "Ticket {n}: where is my order, and can I still change the address?",
        80,
        110,
        {**USUAL, "filtered": 0.012},
    ),
    Job(
        "Product vectors",
        "Search team",
        "text-embedding-v4",
        "",
        "Product {n}: trail running shoe, light, for wet ground, sizes 36 to 47.",
        240,
    ),
    Job(
        "Result quality",
        "Search team",
        "qwen-plus",
        "Say how well the result fits the query, from 0 to 3, and why in a few words.",
        "Query {n}: rain jacket for children. Result: umbrella, red, for two.",
        110,
        24,
        {**USUAL, "uncounted": 0.002},
    ),
    Job(
        "Title rewrites",
        "Search team",
        "qwen-flash",
        "Rewrite the title in at most 60 characters.",
        "Title {n}: SUPER SALE!!! Mens Jacket Blue, NEW 2026, free shipping",
        150,
        32,
        {**USUAL, "breaks": 0.003},
    ),
    Job(
        "Contract facts",
        "Research",
        "qwen3-max",
        "List parties, term, notice and every obligation with its date.",
        "Contract {n}, as scanned and read: see the attached text of the agreement.",
        34,
        90,
        {**USUAL, "too_long": 0.03},
    ),
    Job(
        "Class labels",
        "Research",
        "house-llama-8b",
        "Answer with the number of the class.",
        "Example {n}: the pump runs, but the pressure falls after a minute.",
        120,
        12,
        {"garbled": 0.01},
    ),
    Job(
        "Meeting notes",
        HOME,
        "deepseek-v3",
        "Summarise decisions and who does what until when.",
        "Minutes {n}: nine people, one hour, budget and hiring.",
        45,
        90,
        USUAL,
    ),
    Job(
        "Release notes",
        HOME,
        "deepseek-v3",
        "Translate into German, French and Japanese.",
        "Note {n}: exports can be had as Parquet now.",
        30,
        120,
        {**USUAL, "filtered": 0.004},
    ),
    Job(
        "Regression",
        HOME,
        "house-llama-8b",
        "Answer as the assistant of the shop.",
        "Prompt {n}: can I return shoes that I wore once?",
        70,
        48,
        USUAL,
    ),
)
_SOON = 0.3
BY_NAME_OF_JOB = {job.name: job for job in JOBS}


def input_file(job: Job, requests: int, number: int) -> Iterator[bytes]:
    """The lines of a task's file; its number makes it differ from the other tasks of the job."""
    random = Random(number)  # noqa: S311  (no secret depends on it)
    faults, weights = list(job.faults), list(job.faults.values())
    chosen: list[Fault] = ["none", *faults]
    drawn = random.choices(chosen, [1 - sum(weights), *weights], k=requests)
    for line, fault in enumerate(drawn, 1):
        yield _line(job, line, number * 100_000 + line, fault)


def long_file(job: Job, requests: int, number: int) -> Iterator[bytes]:
    """A task that goes on for a quarter of an hour: some of it is done soon, the rest is answered slowly."""
    lines = input_file(job, requests, number)
    yield from islice(lines, round(requests * _SOON))
    for line, _ in enumerate(lines, round(requests * _SOON) + 1):
        yield _line(job, line, number * 100_000 + line, "slow")


def unacceptable_file(job: Job, requests: int, number: int) -> Iterator[bytes]:
    """The same with what people get wrong: a line that was cut, an id used twice, a model misspelt."""
    lines = list(input_file(job, requests, number))
    lines[2] = lines[2][:40] + b"\n"
    lines[5] = lines[4]
    lines[7] = lines[7].replace(job.model.encode(), job.model.upper().encode())
    yield from lines


def _line(job: Job, line: int, seed: int, fault: Fault) -> bytes:
    text = job.item.format(n=seed % 1_000_000)
    body: dict[str, object] = {"model": job.model}
    if job.endpoint == "/v1/embeddings":
        body["input"] = text
    else:
        body["messages"] = [{"role": "system", "content": job.system}, {"role": "user", "content": text}]
        body |= {"max_tokens": job.max_tokens, "seed": seed_of(seed, fault)}
    whole = {"custom_id": f"item-{line:05d}", "method": "POST", "url": job.endpoint, "body": body}
    return json.dumps(whole).encode() + b"\n"
