"""What a caller asks for when a task is made, checked field by field (SPEC §3.1)."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from executor.files import check_expiry
from executor.line_faults import ENDPOINTS, quoted
from metering.errors import InvalidParameter

METADATA_PAIRS = 16
METADATA_KEY_CHARACTERS = 64
METADATA_VALUE_CHARACTERS = 512
NAME_CHARACTERS = 100
DESCRIPTION_CHARACTERS = 200

_WINDOW = re.compile(r"([1-9][0-9]{0,2})([hd])")
_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A task to be made. Whatever is not acceptable raises `InvalidParameter` as soon as it is built."""

    input_file_id: str
    endpoint: str
    completion_window: str
    """Hours or days: `24h` to `336h`, `1d` to `14d`."""
    metadata: Mapping[str, str] | None = None
    output_expires_after: int | None = None
    """Seconds from the creation of an output file to its expiry."""

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            supported = ", ".join(f"'{endpoint}'" for endpoint in ENDPOINTS)
            raise InvalidParameter(
                f"Invalid value: {quoted(self.endpoint)}. Supported values are: {supported}.",
                param="endpoint",
            )
        _window(self.completion_window)
        check_expiry(self.output_expires_after, "output_expires_after.seconds")
        _check_metadata(self.metadata or {})

    @property
    def window(self) -> timedelta:
        """The longest time from creation to the end."""
        return _window(self.completion_window)

    @property
    def name(self) -> str | None:
        """The task's name in the console."""
        return (self.metadata or {}).get("ds_name")

    @property
    def description(self) -> str | None:
        """The task's description in the console."""
        return (self.metadata or {}).get("ds_description")

    @property
    def callback_url(self) -> str | None:
        """The URL that is told of the end."""
        return (self.metadata or {}).get("ds_batch_finish_callback")

    def sha256(self) -> str:
        """Tells whether two calls ask for the same, however their JSON was written."""
        metadata = None if self.metadata is None else dict(self.metadata)
        asked = [
            self.input_file_id,
            self.endpoint,
            self.completion_window,
            metadata,
            self.output_expires_after,
        ]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


_FIELDS = {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}


def new_batch_of(body: object) -> NewBatch:
    """The task that a decoded JSON body asks for."""
    if not isinstance(body, dict):
        raise InvalidParameter(f"The body must be a JSON object, but it is {_type(body)}.", param=None)
    if unknown := sorted(set(body) - _FIELDS):
        raise InvalidParameter(
            f"Unknown parameter: {quoted(unknown[0])}. Leave it out; there are {', '.join(sorted(_FIELDS))}.",
            param=unknown[0],
            code="unknown_parameter",
        )
    return NewBatch(
        input_file_id=required_text(body, "input_file_id"),
        endpoint=required_text(body, "endpoint"),
        completion_window=required_text(body, "completion_window"),
        metadata=_metadata(body.get("metadata")),
        output_expires_after=_expiry(body.get("output_expires_after")),
    )


def required_text(body: Mapping[str, Any], name: str) -> str:
    """A string that a body has to have."""
    if body.get(name) is None:
        raise InvalidParameter(
            f"Missing required parameter: '{name}'. Add it to the body.",
            param=name,
            code="missing_required_parameter",
        )
    value = body[name]
    if not isinstance(value, str):
        raise _wrong_type(name, "a string", value)
    return value


def _metadata(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong_type("metadata", "an object", value)
    for key, entry in value.items():
        if not isinstance(entry, str):
            raise _wrong_type(f"metadata.{key[:METADATA_KEY_CHARACTERS]}", "a string", entry)
    return value


def _expiry(value: object) -> int | None:
    name = "output_expires_after"
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong_type(name, "an object", value)
    if value.get("anchor") != "created_at":
        raise InvalidParameter(f"'{name}.anchor' must be 'created_at'.", param=f"{name}.anchor")
    seconds = value.get("seconds")
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise _wrong_type(f"{name}.seconds", "an integer", seconds)
    return seconds


def _window(text: str) -> timedelta:
    found = _WINDOW.fullmatch(text)
    hours = int(found[1]) * (24 if found[2] == "d" else 1) if found else 0
    if not 24 <= hours <= 14 * 24:
        raise InvalidParameter(
            f"Invalid value for 'completion_window': {quoted(text)}. Write hours from '24h' to '336h' "
            "or days from '1d' to '14d'.",
            param="completion_window",
        )
    return timedelta(hours=hours)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > METADATA_PAIRS:
        raise InvalidParameter(
            f"'metadata' has {len(metadata)} pairs; at most {METADATA_PAIRS} are allowed.", param="metadata"
        )
    for key, value in metadata.items():
        if len(key) > METADATA_KEY_CHARACTERS:
            raise InvalidParameter(
                f"The metadata key {quoted(key)} is longer than {METADATA_KEY_CHARACTERS} characters.",
                param="metadata",
            )
        limits = {"ds_name": NAME_CHARACTERS, "ds_description": DESCRIPTION_CHARACTERS}
        longest = limits.get(key, METADATA_VALUE_CHARACTERS)
        if len(value) > longest:
            raise InvalidParameter(
                f"'metadata.{key}' has {len(value)} characters; at most {longest} are allowed.",
                param=f"metadata.{key}",
            )
    if (url := metadata.get("ds_batch_finish_callback")) is not None and not _is_http_url(url):
        raise InvalidParameter(
            f"'metadata.ds_batch_finish_callback' must be a URL that begins with http:// or https://, not {quoted(url)}.",
            param="metadata.ds_batch_finish_callback",
        )


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    whole = text.isprintable() and not any(character.isspace() for character in text)
    return whole and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _type(value: object) -> str:
    return "null" if value is None else _TYPES.get(type(value), type(value).__name__)


def _wrong_type(name: str, wanted: str, value: object) -> InvalidParameter:
    return InvalidParameter(
        f"Invalid type for '{name}': expected {wanted}, but got {_type(value)} instead.",
        param=name,
        code="invalid_type",
    )
