"""The running service, as the commands see it: JSON calls, streamed uploads and downloads, clear failures."""

import contextlib
import io
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import requests

from nightrate.cli.failure import FAILED, WRONG_USE, CliFailure

CONNECT_SECONDS = 5
ANSWER_SECONDS = 300
BACKUP_SECONDS = 7200
"""The copy of a large database takes its time, and nothing is sent meanwhile."""
CHUNK_BYTES = 1 << 18

Progressed = Callable[[int], None]
"""Called with the number of bytes that went over the wire so far."""


class NotReachable(CliFailure):
    """Nothing answers at the service's address."""

    def __init__(self, url: str, reason: object) -> None:
        super().__init__(
            f"no Nightrate answers at {url} ({_short(reason)})",
            hint="Start it with `nightrate serve`, or name another address with --url or NIGHTRATE_URL.",
        )


class Service:
    """Calls one running Nightrate with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = (
            False  # a proxy of the environment is for other hosts than one's own service
        )
        self._session.headers["authorization"] = f"Bearer {key}"

    def get(self, path: str, **params: object) -> Any:
        """GET as JSON; parameters that are None are left out."""
        return self._json("GET", path, params=params)

    def post(
        self, path: str, body: object = None, *, headers: dict[str, str] | None = None, **params: object
    ) -> Any:
        """POST as JSON."""
        return self._json("POST", path, params=params, json=body, headers=headers)

    def patch(self, path: str, body: object) -> Any:
        """PATCH as JSON."""
        return self._json("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        """DELETE as JSON; None if the answer has no body."""
        return self._json("DELETE", path)

    def upload(self, file: Path, progressed: Progressed, **params: object) -> Any:
        """Sends a file as `POST /v1/files`, streamed from disk."""
        with file.open("rb") as content:
            form = Multipart(file.name, content, progressed)
            headers = {"content-type": form.content_type}
            return self._json("POST", "/v1/files", params=params, data=form, headers=headers)

    @contextlib.contextmanager
    def download(self, path: str, **params: object) -> Iterator["Download"]:
        """A streamed GET."""
        with self._send("GET", path, params=params, stream=True) as answer:
            yield Download(answer)

    @contextlib.contextmanager
    def backup(self, have: Mapping[str, str]) -> Iterator["Download"]:
        """The archive of all data but what the caller has. It begins when the database was copied: that takes its time."""
        with self._send(
            "POST", "/v1/backup", json={"have": have}, stream=True, seconds=BACKUP_SECONDS
        ) as answer:
            yield Download(answer)

    def lines(self, path: str, body: object) -> Iterator[dict[str, Any]]:
        """POST that answers with a JSON object a line, each as soon as it is there."""
        accept = {"accept": "application/x-ndjson"}
        with self._send("POST", path, json=body, headers=accept, stream=True) as answer:
            try:
                yield from (json.loads(line) for line in answer.iter_lines() if line)
            except (requests.RequestException, ValueError) as error:
                raise CliFailure(f"the answer broke off: {_short(error)}", hint="Try again.") from error

    def all_pages(self, path: str, *, most: int, **params: object) -> list[dict[str, Any]]:
        """The rows of a list, over its pages, `most` at most."""
        rows: list[dict[str, Any]] = []
        after: str | None = None
        while len(rows) < most:
            page = self.get(path, limit=min(100, most - len(rows)), after=after, **params)
            rows += page["data"]
            after = page.get("last_id")
            if not page.get("has_more") or after is None:
                break
        return rows

    def _json(self, method: str, path: str, **how: Any) -> Any:
        answer = self._send(method, path, **how)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise CliFailure(
                f"{self.url}{path} answered {answer.status_code} with something that is not JSON",
                hint="Is this address really a Nightrate service?",
            ) from error

    def _send(
        self, method: str, path: str, seconds: float | None = ANSWER_SECONDS, **how: Any
    ) -> requests.Response:
        how["params"] = {
            name: value for name, value in (how.get("params") or {}).items() if value is not None
        }
        try:
            answer = self._session.request(
                method,
                self.url + path,
                timeout=(CONNECT_SECONDS, seconds),
                allow_redirects=False,
                **how,
            )
        except requests.Timeout as error:
            raise CliFailure(
                f"{self.url} did not answer in time ({_short(error)})", hint="Try again."
            ) from error
        except (requests.RequestException, OSError) as error:
            raise NotReachable(self.url, error) from error
        if answer.status_code >= 300:
            raise refusal(answer)
        return answer


class Download:
    """An answer whose content is read piece by piece."""

    def __init__(self, answer: requests.Response) -> None:
        self._answer = answer
        length = answer.headers.get("content-length")
        self.size = int(length) if length else None

    def header(self, name: str) -> str:
        """One of its headers; `?` if it is not there."""
        return self._answer.headers.get(name, "?")

    def pieces(self) -> Iterator[bytes]:
        """The content."""
        try:
            yield from self._answer.iter_content(CHUNK_BYTES)
        except requests.RequestException as error:
            raise CliFailure(f"the download broke off: {_short(error)}", hint="Try again.") from error


class Multipart(io.RawIOBase):
    """A form with `purpose` and `file` whose length is known and whose content is never in memory as a whole."""

    def __init__(self, name: str, content: BinaryIO, progressed: Progressed) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        safe = name.replace('"', "%22").replace("\r", " ").replace("\n", " ")
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{safe}"\r\n'
            "content-type: application/jsonl\r\n\r\n"
        )
        self._size = content.seek(0, io.SEEK_END)
        content.seek(0)
        self._parts: list[BinaryIO] = [
            io.BytesIO(head.encode()),
            content,
            io.BytesIO(f"\r\n--{boundary}--\r\n".encode()),
        ]
        self._length = self._size + len(head.encode()) + len(boundary) + 8
        self._progressed, self._read = progressed, 0

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the form; empty at its end."""
        wanted = CHUNK_BYTES if size is None or size < 0 else max(size, CHUNK_BYTES)
        while self._parts:
            if data := self._parts[0].read(wanted):
                self._read += len(data)
                self._progressed(min(self._read, self._size))
                return data
            self._parts.pop(0)
        return b""


def refusal(answer: requests.Response) -> CliFailure:
    """The service's own words about why it refused, and what may help."""
    try:
        told = answer.json()["error"]
        message, param = str(told["message"]), told.get("param")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, param = f"the service answered {answer.status_code} {answer.reason}", None
    hints = {
        401: "Give a valid key with --key or NIGHTRATE_KEY.",
        403: "Use the admin key.",
        503: "The service is starting or recovering; try again in a moment.",
    }
    where = f" ({param})" if param and str(param) not in message else ""
    exit_code = WRONG_USE if answer.status_code == 400 else FAILED
    return CliFailure(message + where, hint=hints.get(answer.status_code), exit_code=exit_code)


def segment(identity: str) -> str:
    """An id as one segment of a path; nothing in it can lead elsewhere."""
    return quote(identity, safe="")


def _short(reason: object) -> str:
    """The last cause of a chain of connection errors, without its wrapping."""
    text = str(reason)
    return text.rpartition(": ")[2].strip("')\"> ") or type(reason).__name__
