"""What dispatch and those who make its attempts elsewhere say to each other, and how it is sent."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from executor.answers import Judged, Lost

READ_AHEAD_BYTES = 4 << 20
_LENGTH_BYTES = 4


class UpstreamSetup(msgspec.Struct, frozen=True):
    """One upstream, as whoever asks it needs to know it. It holds a key: it is shown to nobody."""

    url: str
    api_key: str | None
    timeout_seconds: float
    streams: bool


class WorkerSetup(msgspec.Struct, frozen=True):
    """What is the same for every attempt."""

    upstreams: list[UpstreamSetup]
    """Messages name one by its place here."""
    response_bytes: int
    connect_timeout_seconds: float
    connections: int
    """The most that it may want at once."""


class CrewSetup(msgspec.Struct, frozen=True):
    """What whoever keeps the workers needs to know: the first message to it."""

    worker: WorkerSetup
    address: str | None
    """Of the cluster; none for one of its own."""
    workers: int
    silence_seconds: float
    """Who says nothing for so long counts as gone."""
    folder: str
    """Where a cluster of its own may keep its files."""


class Ask(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="ask"):
    """A request is to be sent."""

    call: int
    """Names it in all that is said of it; never given twice."""
    upstream: int
    endpoint: str
    body: bytes


class AskModels(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="models"):
    """An upstream is to be probed."""

    call: int
    upstream: int
    timeout_seconds: float


class Cancel(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="cancel"):
    """A request is given up: nothing more is to be told of it."""

    call: int


class Told(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="told"):
    """What came of a request."""

    call: int
    what: Judged | Lost


class Probed(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="probed"):
    """What came of a probe: the status, or none."""

    call: int
    status: int | None


class Strength(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="strength"):
    """How many make attempts now."""

    workers: int
    news: str
    """What has changed, in words for the log; why, if they are none."""


Order: TypeAlias = Ask | AskModels | Cancel
Report: TypeAlias = Told | Probed | Strength

encode = msgspec.msgpack.Encoder().encode
decode_setup = msgspec.msgpack.Decoder(CrewSetup).decode
decode_orders = msgspec.msgpack.Decoder(list[Order]).decode
decode_reports = msgspec.msgpack.Decoder(list[Report]).decode


class _VerdictKind(msgspec.Struct, frozen=True, gc=False, array_like=True):
    kind: str


class _JudgedKind(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="judged"):
    verdict: _VerdictKind


class _ToldKind(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="told"):
    call: int
    what: _JudgedKind | Lost

    @property
    def failed(self) -> bool:
        return isinstance(self.what, _JudgedKind) and self.what.verdict.kind == "retry"


_decode_glances = msgspec.msgpack.Decoder(list[_ToldKind | Probed]).decode


def glance(reports: bytes) -> list[tuple[int, bool, bool]]:
    """Of encoded `Told` and `Probed` no more than the call, whether it was a probe, and whether it failed."""
    return [
        (report.call, True, report.status is None)
        if isinstance(report, Probed)
        else (report.call, False, report.failed)
        for report in _decode_glances(reports)
    ]


def send(writer: asyncio.StreamWriter, messages: bytes) -> None:
    """Writes encoded messages, their length first."""
    writer.write(len(messages).to_bytes(_LENGTH_BYTES, "big"))
    writer.write(messages)


async def receive(reader: asyncio.StreamReader) -> bytes | None:
    """The next encoded messages; none if the other side is gone."""
    try:
        length = await reader.readexactly(_LENGTH_BYTES)
        return await reader.readexactly(int.from_bytes(length, "big"))
    except (asyncio.IncompleteReadError, OSError):
        return None


def portions(orders: Sequence[Order], most_bytes: int) -> list[list[Order]]:
    """Orders in their sequence, in lists whose bodies have so many bytes together, or one body each."""
    found: list[list[Order]] = []
    left = 0
    for order in orders:
        size = len(order.body) if isinstance(order, Ask) else 0
        if not found or size > left:
            found.append([])
            left = most_bytes
        found[-1].append(order)
        left -= size
    return found
