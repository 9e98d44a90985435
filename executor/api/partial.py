"""A file of lines that still grows, sent as far as it counts."""

from pathlib import Path
from typing import Any

from fastapi.responses import Response, StreamingResponse

from executor.result_files import first_bytes

JSONL: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "lines of JSON",
        "content": {"application/jsonl": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def partial_file(path: Path, length: int) -> StreamingResponse:
    """The first `length` bytes, streamed; what is written behind them meanwhile is not sent."""
    # Opened before the answer begins: a file that is deleted meanwhile is still sent whole.
    pieces = first_bytes(path.open("rb"), length) if length else iter(())
    return StreamingResponse(pieces, media_type="application/jsonl", headers={"content-length": str(length)})


def single_line(path: Path, length: int, identity: str) -> Response:
    """The line with this id among the first `length` bytes; empty without one."""
    mark, position = f'{{"id":"{identity}"'.encode(), 0
    found = b""
    if length:
        with path.open("rb") as file:
            while position < length and not found:
                line = file.readline()
                position += len(line)
                found = line if line.startswith(mark) else b""
    return Response(found, media_type="application/jsonl")
