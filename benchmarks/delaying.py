"""An upstream that answers everything after a fixed time and costs hardly any of the machine's own.

    python benchmarks/delaying.py 0.05

Prints its URL; `/counts` tells how many requests there were and the most that waited at once. The tests'
scripted upstream can do more, but takes ten times the processor time, which on two cores is what would be measured.
"""

import asyncio
import json
import re
import resource
import sys

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "fast",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
}


def answer(body: object) -> bytes:
    """A whole HTTP answer."""
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(text),
        text,
    )


class Counts:
    """What was seen."""

    total = waiting = most = 0


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time."""

    transport: asyncio.Transport

    def __init__(self, latency_seconds: float, counts: Counts) -> None:
        self.latency_seconds, self.counts, self.received = latency_seconds, counts, b""
        self.completion = answer(COMPLETION)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self.received, 0, end)
        if len(self.received) < end + 4 + (int(length[1]) if length else 0):
            return
        path, self.received = self.received.split(b" ", 2)[1], b""
        if path == b"/counts":
            self.transport.write(answer({"total": self.counts.total, "most": self.counts.most}))
        elif path == b"/v1/models":
            self.transport.write(answer({"object": "list", "data": []}))
        else:
            self.counts.total += 1
            self.counts.waiting += 1
            self.counts.most = max(self.counts.most, self.counts.waiting)
            asyncio.get_running_loop().call_later(self.latency_seconds, self._complete)

    def _complete(self) -> None:
        self.counts.waiting -= 1
        self.transport.write(self.completion)


async def serve(latency_seconds: float) -> None:
    """Until it is killed."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(latency_seconds, counts), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    uvloop.run(serve(float(sys.argv[1])))
