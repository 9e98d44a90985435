"""A file of lines that still grows, sent as far as it counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fastapi.responses import StreamingResponse

JSONL: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "lines of JSON",
        "content": {"application/jsonl": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_BLOCK_BYTES = 1 << 18


def partial_file(path: Path, length: int) -> StreamingResponse:
    """The first `length` bytes, streamed; what is written behind them meanwhile is not sent."""
    # Opened before the answer begins: a file that is deleted meanwhile is still sent whole.
    pieces = _first(path.open("rb"), length) if length else iter(())
    return StreamingResponse(pieces, media_type="application/jsonl", headers={"content-length": str(length)})


def _first(file: BinaryIO, length: int) -> Iterator[bytes]:
    with file:
        while length and (block := file.read(min(length, _BLOCK_BYTES))):
            length -= len(block)
            yield block
