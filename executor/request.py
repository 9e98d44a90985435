"""One request on its way: what is sent, and what is written when it is done. Pure."""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from executor.options import ModelOptions
from executor.streamed import STREAMED_ENDPOINTS
from metering.event import Event

if TYPE_CHECKING:
    from executor.run import TaskRun


_REQUEST_OVERHEAD_BYTES = 512


class Request(msgspec.Struct, eq=False, gc=False):
    """One line of an input file that waits for its final answer."""

    line_no: int
    custom_id: str
    body: bytes
    """As it is sent to the upstream."""
    attempts: int = 0
    """HTTP calls made so far."""
    used: int = 0
    """Attempts that count against `max_attempts`; a pushback doesn't."""
    rate_limited: int = 0
    lost: int = 0
    """Attempts that nobody knows the end of."""
    started_at: datetime | None = None
    started_monotonic: float = 0.0
    pushed_back_since: float | None = None
    """Monotonic moment of the first pushback of an unbroken row of them."""

    @property
    def size(self) -> int:
        """Bytes of memory that it holds, about."""
        return len(self.body) + _REQUEST_OVERHEAD_BYTES


class Outcome(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A request's final answer on its way to the disk."""

    run: "TaskRun"
    event: Event
    line: bytes
    """The result or error line, newline included; held in memory until the outcome is committed."""


def outgoing_body(body: bytes, model: ModelOptions, endpoint: str) -> bytes:
    """The body as the upstream gets it: of all members only `model` and `stream…` are ever changed."""
    streams = model.stream and endpoint in STREAMED_ENDPOINTS
    if model.upstream_model is None and not streams and b'"stream' not in body:
        return body
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    if model.upstream_model is not None:
        members["model"] = msgspec.Raw(msgspec.json.encode(model.upstream_model))
    if streams or "stream" in members:
        members["stream"] = msgspec.Raw(b"true" if streams else b"false")
    members.pop("stream_options", None)
    if streams:
        members["stream_options"] = msgspec.Raw(b'{"include_usage":true}')
    return msgspec.json.encode(members)


def line_id(task_id: str, line_no: int) -> str:
    """The id of a result or error line. It holds the line number, so that a file can be read back."""
    return f"batch_req_{task_id.removeprefix('batch_')}_{line_no}"


def line_no_of(result_id: str) -> int:
    """The input line that a result line answers."""
    return int(result_id.rpartition("_")[2])


def answer_line(
    task_id: str, request: Request, status_code: int, request_id: str | None, body: bytes
) -> bytes:
    """A line for a request that an upstream answered, well or not."""
    identity = line_id(task_id, request.line_no)
    return (
        b'{"id":"%s","custom_id":%s,"response":{"status_code":%d,"request_id":%s,"body":%s},"error":null}\n'
        % (
            identity.encode(),
            msgspec.json.encode(request.custom_id),
            status_code,
            msgspec.json.encode(request_id or identity),
            body,
        )
    )


def error_line(task_id: str, line_no: int, custom_id: str, code: str, message: str) -> bytes:
    """A line for a request without a usable answer."""
    line = {
        "id": line_id(task_id, line_no),
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return msgspec.json.encode(line) + b"\n"
