"""Checks a whole input file in bounded memory and names every bad line (SPEC §3.3).

A good line costs one typed decode that builds nothing but its identity; only a line that fails it is
read again, slowly, to say what is wrong with it.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from executor.line_faults import LineRules, NotARequest, Parsed, content_field, parse
from executor.lines import line_batches
from executor.models import ModelCatalog
from executor.options import TEST_MODEL, LimitOptions
from executor.tasks import LineError

# How deeply nested JSON can be decoded depends on the stack left. What is accepted here must be readable
# by whoever reads it later, so that this uses up some more of it than they do.
_SPARE_FRAMES = 100

Progress = Callable[[int, int], None]
"""Is told how many bytes of how many were read."""


class ValidationStopped(Exception):
    """Somebody asked the validation to stop; it says nothing about the file."""


class InputChanged(Exception):
    """A line of an accepted file can't be read any more: the file was changed or damaged."""

    def __init__(self, path: Path, line_no: int) -> None:
        self.path, self.line_no = path, line_no
        super().__init__(f"line {line_no} of the input file {path.name} is no longer a request")


@dataclass(frozen=True, slots=True)
class Report:
    """What a validation found."""

    total: int
    """Requests in the file: its lines that are not blank."""
    model: str | None
    """Of the first line that has one."""
    errors: tuple[LineError, ...]
    """Faults of the file, then those of the first bad lines, then `too_many_errors` if there are more."""
    error_count: int
    """All faults, listed or not."""
    by_code: Mapping[str, int]
    """How often each code was found, listed or not."""

    @property
    def valid(self) -> bool:
        """Whether the file may be run."""
        return self.error_count == 0


class InputRequest(msgspec.Struct, frozen=True, gc=False):
    """One request of an accepted file."""

    line_no: int
    """Physical line, from 1."""
    custom_id: str
    url: str
    body: bytes
    """The JSON object as it stands in the file."""


class _Array(msgspec.Struct, array_like=True, gc=False):
    """Any JSON array; its elements are checked but not kept."""


class _Chat(msgspec.Struct, gc=False):
    model: str
    messages: _Array


class _Input(msgspec.Struct, gc=False):
    model: str
    input: str | _Array


class _Prompt(msgspec.Struct, gc=False):
    model: str
    prompt: str | _Array


class _ChatLine(msgspec.Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: _Chat


class _InputLine(msgspec.Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: _Input


class _PromptLine(msgspec.Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: _Prompt


class _RawLine(msgspec.Struct, gc=False):
    custom_id: str
    url: str
    body: msgspec.Raw


_Line = _ChatLine | _InputLine | _PromptLine
_LINES: Mapping[str, type[_Line]] = {"messages": _ChatLine, "input": _InputLine, "prompt": _PromptLine}


def validate(
    path: Path,
    endpoint: str,
    catalog: ModelCatalog,
    allowed_models: Collection[str] | None,
    limits: LimitOptions,
    on_progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Checks a file for a task on `endpoint`; `stop` ends it early with `ValidationStopped`."""
    rules = LineRules(endpoint, catalog, allowed_models, limits)
    file_bytes = path.stat().st_size
    check = _FileCheck(rules, file_bytes, utf16=_is_utf16(path))
    for batch in line_batches(path, limits.line_bytes):
        if stop is not None and stop.is_set():
            raise ValidationStopped
        _with_less_stack(_SPARE_FRAMES, partial(check.lines, batch.first_line_no, batch.lines, batch.ascii))
        if on_progress is not None:
            on_progress(batch.bytes_read, file_bytes)
        if check.hopeless:
            break
    return check.report()


def _with_less_stack(frames: int, call: Callable[[], None]) -> None:
    if frames == 0:
        return call()
    return _with_less_stack(frames - 1, call)


def _is_utf16(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"\xff\xfe", b"\xfe\xff")


class _FileCheck:
    """Goes through the lines of one file and remembers what a line can't know of the others."""

    def __init__(self, rules: LineRules, file_bytes: int, *, utf16: bool) -> None:
        self._rules = rules
        self._limits = rules.limits
        self._file_bytes = file_bytes
        self._utf16 = utf16
        self._decode = msgspec.json.Decoder(_LINES[content_field(rules.endpoint)]).decode
        self._total = 0
        self._seen: set[str] = set()
        self._model: str | None = None
        self._usable_model: str | None = None
        self._errors: list[LineError] = []
        self._bad_lines = 0
        self._codes: Counter[str] = Counter()

    @property
    def hopeless(self) -> bool:
        """Nothing new can be learned: more lines than allowed, and more bad ones than are listed."""
        return self._total > self._max_requests and self._bad_lines > self._limits.reported_errors

    @property
    def _max_requests(self) -> int:
        if self._model == TEST_MODEL:
            return min(self._limits.requests_per_file, self._limits.test_requests_per_file)
        return self._limits.requests_per_file

    def lines(self, first_line_no: int, lines: Sequence[bytes | None], ascii_only: bool) -> None:
        """Checks consecutive lines; None is one that is too large."""
        decode, seen, model = self._decode, self._seen, self._usable_model
        endpoint, longest = self._rules.endpoint, self._limits.custom_id_characters
        keep, good = self._limits.requests_per_file, 0
        for line_no, line in enumerate(lines, first_line_no):
            if line == b"":
                continue
            if line is not None and (ascii_only or _is_utf8(line)):
                try:
                    request = decode(line)
                    custom_id, body = request.custom_id, request.body
                    if (
                        body.model == model
                        and request.url == endpoint
                        and request.method == "POST"
                        and custom_id not in seen
                        and len(custom_id) <= longest
                        and len(seen) < keep
                    ):
                        seen.add(custom_id)
                        good += 1
                        continue
                except (msgspec.DecodeError, RecursionError):
                    pass  # the slow path says why
            self._slowly(line_no, line)
            model = self._usable_model
        self._total += good

    def _slowly(self, line_no: int, line: bytes | None) -> None:
        if line is None:
            self._total += 1
            largest = self._limits.line_bytes
            self._bad(
                line_no,
                "line_too_large",
                f"This line is larger than {largest:,} bytes; shorten or split its request.",
            )
        elif line.strip(b" \t\r\x00" if self._utf16 else b" \t\r"):
            self._total += 1
            try:
                parsed = parse(line, self._rules.endpoint, self._utf16)
            except NotARequest as reason:
                self._bad(line_no, "invalid_json_line", str(reason))
            else:
                self._request(line_no, parsed)

    def _request(self, line_no: int, parsed: Parsed) -> None:
        if self._model is None and parsed.model is not None:
            self._model = parsed.model
            if self._rules.model_fault(parsed.model) is None:
                self._usable_model = parsed.model
        identity = self._identity(parsed.custom_id)
        duplicate = identity in self._seen
        self._note(self._rules.faults(line_no, parsed, self._model, duplicate))
        # What lies above the limit of requests is not remembered: it would be memory without bound.
        if identity is not None and len(self._seen) < self._limits.requests_per_file:
            self._seen.add(identity)

    def _identity(self, custom_id: str | None) -> str | None:
        """What is remembered of a custom_id: a digest, where it is too long to be kept."""
        if custom_id is None or len(custom_id) <= self._limits.custom_id_characters:
            return custom_id
        return hashlib.sha256(custom_id.encode()).hexdigest()

    def _bad(self, line_no: int, code: str, message: str) -> None:
        self._note([LineError(code, message, None, line_no)])

    def _note(self, faults: list[LineError]) -> None:
        if faults:
            self._bad_lines += 1
            self._codes.update(fault.code for fault in faults)
            if self._bad_lines <= self._limits.reported_errors:
                self._errors.extend(faults)

    def report(self) -> Report:
        """What was found in all."""
        whole = list(self._whole_file())
        self._codes.update(error.code for error in whole)
        errors = [*whole, *self._errors]
        listed = self._limits.reported_errors
        if self._bad_lines > listed:
            message = (
                f"More than {listed:,} lines have errors, only the first {listed:,} are listed. "
                "Mend these and validate the file again."
            )
            errors.append(LineError("too_many_errors", message, None, None))
        return Report(self._total, self._model, tuple(errors), self._codes.total(), dict(self._codes))

    def _whole_file(self) -> Iterator[LineError]:
        test = self._model == TEST_MODEL
        whose = f"a file for '{TEST_MODEL}'" if test else "a file"
        if self._total == 0:
            message = "The file has no request. Write at least one JSON object, each on a line of its own."
            yield LineError("empty_file", message, None, None)
        if self._total > self._max_requests:
            message = (
                f"The file has more requests than the {self._max_requests:,} that {whose} may have; split it."
            )
            yield LineError("too_many_requests_in_file", message, None, None)
        largest = (
            min(self._limits.file_bytes, self._limits.test_file_bytes) if test else self._limits.file_bytes
        )
        if self._file_bytes > largest:
            message = f"The file has {self._file_bytes:,} bytes; {whose} may have {largest:,}. Split it."
            yield LineError("file_too_large", message, None, None)


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def peek_model(path: Path, limits: LimitOptions) -> str | None:
    """The model of the first request, or none if it has none (then the file will not pass validation)."""
    for batch in line_batches(path, limits.line_bytes):
        for line in batch.lines:
            if line is None:
                return None
            if line.strip():
                try:
                    return parse(line, "/v1/chat/completions").model
                except NotARequest:
                    return None
    return None


def read_requests(path: Path, skip: Container[int], limits: LimitOptions) -> Iterator[InputRequest]:
    """The requests of an accepted file in its order, but for the lines in `skip`; one pass, bounded memory.

    A line that is no request raises `InputChanged`, a missing file `FileNotFoundError`.
    """
    decode = msgspec.json.Decoder(_RawLine).decode
    for batch in line_batches(path, limits.line_bytes):
        for line_no, line in enumerate(batch.lines, batch.first_line_no):
            if line_no in skip or (line is not None and not line.strip()):
                continue
            try:
                request = decode(line or b"")
            except (msgspec.DecodeError, RecursionError):
                raise InputChanged(path, line_no) from None
            yield InputRequest(line_no, request.custom_id, request.url, bytes(request.body))
