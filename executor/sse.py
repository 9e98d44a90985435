"""Server-sent events out of a stream of bytes, however it is cut into chunks. Pure.

Written here because no kept-up package of the registry fits bytes that are pushed from an event loop:
`sseclient-py` and `requests-sse` pull from a blocking source, `httpx-sse` brings a second HTTP client,
`assel` 1.0.0 shares one UTF-8 decoder among all its parsers, so that two streams at a time corrupt each
other, and `axio-sse` wants a newer Python. What is needed of the standard is short; it works on bytes,
since the JSON decoder does too.
"""

__all__ = ["EventParser"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Finds the data of events; their names, ids and comments mean nothing in the APIs we read.

    A field `error`, which the standard doesn't know, counts as data with that one member.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """The pieces of a line that has not ended."""
        self._data: list[bytes] = []
        """The data lines of an event that has not ended."""
        self._after_return = False
        """Whether the last byte was a CR, whose LF may still come."""
        self._begun = False
        self._line_bytes = self._data_bytes = 0

    @property
    def pending(self) -> int:
        """Bytes held of an event that has not ended."""
        return self._line_bytes + self._data_bytes

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that end in these bytes."""
        if self._after_return and received.startswith(b"\n"):
            received = received[1:]
            self._after_return = False
        if not received:
            return []
        self._after_return = received.endswith(b"\r")
        lines = received.splitlines()  # of bytes: at LF, CR and CRLF only, as the standard says
        rest = b"" if received.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._line:
            lines[0] = self._end_of_line(lines[0])
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
        return self._events(lines)

    def close(self) -> list[bytes]:
        """The data of a last event that no blank line follows: a sender may leave that out."""
        last = [self._end_of_line(b"")] if self._line else []
        return self._events([*last, b""])

    def _end_of_line(self, last: bytes) -> bytes:
        line = b"".join((*self._line, last))
        self._line, self._line_bytes = [], 0
        return line

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            if not self._begun:
                line, self._begun = line.removeprefix(_BYTE_ORDER_MARK), True
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data, self._data_bytes = [], 0
            elif line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._add(b"")
            elif line.startswith(b"error:"):
                # llama.cpp of before autumn 2025 names the field, not the event, so, and `[DONE]` follows:
                # who skips it as the standard says takes what came before for the whole answer.
                self._add(b'{"error":%s}' % line[6:])
        return events

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._data_bytes += len(data)
