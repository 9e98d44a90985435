"""Explains what is wrong with one line of an input file (SPEC §3.3): the slow path, for bad lines only.

Every message says what is wrong and how to mend it; the line's number stands beside it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from executor.models import ModelCatalog, may_use
from executor.options import TEST_ENDPOINT, TEST_MODEL, Endpoint, LimitOptions
from executor.tasks import LineError

ENDPOINTS: tuple[str, ...] = get_args(Endpoint)
_QUOTED_CHARACTERS = 100
_TYPES = {
    b"{": "an object",
    b"[": "an array",
    b'"': "a string",
    b"t": "a boolean",
    b"f": "a boolean",
    b"n": "null",
}
_CONTENT = {"/v1/embeddings": "input", "/v1/responses": "input", "/v1/completions": "prompt"}


def content_field(endpoint: str) -> str:
    """The field of the body that holds what the model is asked: messages, input or prompt."""
    return _CONTENT.get(endpoint, "messages")


class _Line(msgspec.Struct):
    custom_id: Raw | UnsetType = UNSET
    method: Raw | UnsetType = UNSET
    url: Raw | UnsetType = UNSET
    body: Raw | UnsetType = UNSET


class _Body(msgspec.Struct):
    model: Raw | UnsetType = UNSET
    messages: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_text = msgspec.json.Decoder(str).decode


@dataclass(slots=True)
class Parsed:
    """What could be read of a line: a field is None where it is missing or of the wrong type."""

    custom_id: str | None = None
    method: str | None = None
    url: str | None = None
    model: str | None = None
    missing: tuple[str, ...] = ()
    mistyped: tuple[tuple[str, str, str], ...] = ()
    """Of each field of the wrong type: its path, what is wanted, what was found."""


class NotARequest(Exception):
    """The line is no JSON object; the text says why."""


def parse(line: bytes, endpoint: str, utf16: bool = False) -> Parsed:
    """Reads as much of a line as there is; a line that is no JSON object raises `NotARequest`."""
    _check_text(line, utf16)
    try:
        found = _decode_line(line)
    except msgspec.ValidationError:
        kind = _type_of(line)
        raise NotARequest(f"This line is {kind}; each line must be one JSON object with a request.") from None
    except RecursionError:
        raise NotARequest("This line nests objects or arrays too deeply to be read; flatten it.") from None
    except msgspec.DecodeError as error:
        raise NotARequest(_not_json(str(error), line)) from None
    return _Reading(found, content_field(endpoint)).parsed


class _Reading:
    """Takes a line apart, and notes what is missing or mistyped on the way."""

    def __init__(self, line: _Line, content: str) -> None:
        self._missing: list[str] = []
        self._mistyped: list[tuple[str, str, str]] = []
        parsed = Parsed(
            custom_id=self._text("custom_id", line.custom_id),
            method=self._text("method", line.method),
            url=self._text("url", line.url),
        )
        if self._check("body", line.body, b"{", "an object"):
            assert isinstance(line.body, Raw)
            body = _decode_body(line.body)
            parsed.model = self._text("body.model", body.model)
            starts, wanted = (b"[", "an array") if content == "messages" else (b'["', "a string or an array")
            self._check(f"body.{content}", getattr(body, content), starts, wanted)
        parsed.missing, parsed.mistyped = tuple(self._missing), tuple(self._mistyped)
        self.parsed = parsed

    def _text(self, path: str, value: Raw | UnsetType) -> str | None:
        if not self._check(path, value, b'"', "a string"):
            return None
        assert isinstance(value, Raw)
        return _decode_text(value)

    def _check(self, path: str, value: Raw | UnsetType, starts: bytes, wanted: str) -> bool:
        if isinstance(value, UnsetType):
            self._missing.append(path)
            return False
        if (first := bytes(memoryview(value)[:1])) not in starts:
            self._mistyped.append((path, wanted, _TYPES.get(first, "a number")))
            return False
        return True


def _check_text(line: bytes, utf16: bool) -> None:
    if utf16:
        raise NotARequest("This file is UTF-16; save it as UTF-8 and upload it again.")
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotARequest(
            f"This line is not UTF-8: byte {error.start + 1} of it is 0x{line[error.start]:02x}. "
            "Save the file as UTF-8 and upload it again."
        ) from None


def _type_of(value: bytes) -> str:
    return _TYPES.get(value.lstrip()[:1], "a number")


def _not_json(reason: str, line: bytes) -> str:
    reason = reason.removeprefix("JSON is malformed: ").rstrip(".")
    hint = "Write each request as one JSON object on a line of its own."
    if line.strip() in (b"{", b"["):
        hint = "It seems to be spread over several lines: write each request on one line."
    return f"This line is not parseable as valid JSON: {reason}. {hint}"


def quoted(text: str) -> str:
    """The text in quotes, cut where a message would grow too long."""
    return f"'{text[:_QUOTED_CHARACTERS]}…'" if len(text) > _QUOTED_CHARACTERS else f"'{text}'"


@dataclass(frozen=True, slots=True)
class LineRules:
    """What the requests of one task have to keep."""

    endpoint: str
    catalog: ModelCatalog
    allowed_models: Collection[str] | None
    """The models that the workspace may use; None means all."""
    limits: LimitOptions

    def faults(
        self, line_no: int, parsed: Parsed, first_model: str | None, duplicate: bool
    ) -> list[LineError]:
        """All that is wrong with a line, each code once at most."""
        found = [
            *self._shape(parsed),
            *self._identity(parsed, duplicate),
            *self._target(parsed),
            *self._model(parsed, first_model),
        ]
        return [LineError(code, message, param, line_no) for code, message, param in found]

    def model_fault(self, model: str) -> str | None:
        """Why this model can't serve the task; none if it can."""
        options = self.catalog.get(model)
        if options is None or not may_use(model, self.allowed_models):
            known = ", ".join(self.catalog.allowed(self.allowed_models)[:20])
            return f"The provided model {quoted(model)} does not exist here or may not be used with this key. Use one of: {known}."
        if self.endpoint not in options.endpoints:
            return (
                f"The provided model {quoted(model)} is not served at {self.endpoint}. "
                f"Use {' or '.join(options.endpoints)}, or another model."
            )
        return None

    def _shape(self, parsed: Parsed) -> Iterator[tuple[str, str, str | None]]:
        if parsed.missing:
            names = ", ".join(f"'{name}'" for name in parsed.missing)
            plural = "s" if len(parsed.missing) > 1 else ""
            yield (
                "missing_required_parameter",
                f"Missing required parameter{plural}: {names}. Add {'them' if plural else 'it'} to this line.",
                parsed.missing[0],
            )
        if parsed.mistyped:
            texts = (
                f"Invalid type for '{p}': expected {wanted}, but got {got}."
                for p, wanted, got in parsed.mistyped
            )
            yield "invalid_type", " ".join(texts), parsed.mistyped[0][0]

    def _identity(self, parsed: Parsed, duplicate: bool) -> Iterator[tuple[str, str, str | None]]:
        if parsed.custom_id is None:
            return
        longest = self.limits.custom_id_characters
        if (length := len(parsed.custom_id)) > longest:
            yield (
                "custom_id_too_long",
                f"The custom_id of this request has {length} characters; at most {longest} are allowed.",
                "custom_id",
            )
        if duplicate:
            yield (
                "duplicate_custom_id",
                f"The custom_id {quoted(parsed.custom_id)} for this request is a duplicate of another request. "
                "The custom_id parameter must be unique for each request in a batch.",
                "custom_id",
            )

    def _target(self, parsed: Parsed) -> Iterator[tuple[str, str, str | None]]:
        if parsed.method not in (None, "POST"):
            yield "invalid_method", f"Invalid method: {quoted(str(parsed.method))}. Write 'POST'.", "method"
        if (url := parsed.url) is None:
            return
        if url not in ENDPOINTS:
            yield (
                "url_not_found",
                f"The provided url {quoted(url)} is not supported by the Batch API. Write '{self.endpoint}'.",
                "url",
            )
        elif url != self.endpoint:
            yield (
                "invalid_url",
                f"The URL provided for this request, '{url}', does not match the batch endpoint. "
                f"Write '{self.endpoint}', or create the batch for '{url}'.",
                "url",
            )

    def _model(self, parsed: Parsed, first_model: str | None) -> Iterator[tuple[str, str, str | None]]:
        if (model := parsed.model) is None:
            return
        if first_model is not None and model != first_model:
            yield (
                "mismatched_model",
                f"The model {quoted(model)} for this request does not match the rest of the batch "
                f"({quoted(first_model)}). Each batch must contain requests for a single model.",
                "body.model",
            )
        url = self.endpoint if parsed.url is None else parsed.url
        if (model == TEST_MODEL) != (url == TEST_ENDPOINT) or (model == TEST_MODEL) != (
            self.endpoint == TEST_ENDPOINT
        ):
            yield "mismatched_test_url", _test_mismatch(model, url), "url"
        elif (reason := self.model_fault(model)) is not None:
            yield "model_not_found", reason, "body.model"


def _test_mismatch(model: str, url: str) -> str:
    if model == TEST_MODEL:
        return (
            f"The provided URL {quoted(url)} does not match the test model '{TEST_MODEL}'. "
            f"Write '{TEST_ENDPOINT}' as the url and as the batch endpoint, or use another model."
        )
    return (
        f"The model {quoted(model)} can't be used at '{TEST_ENDPOINT}', which is for the test model. "
        f"Use '{TEST_MODEL}', or the url and batch endpoint of your model."
    )
