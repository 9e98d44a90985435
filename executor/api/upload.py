"""Reads a multipart upload as it arrives: the file goes to disk in parts, the fields stay small.

Nothing is spooled: a part of the file is in memory once, and on disk only where it stays.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from executor.files import Files, FileTooLarge, StoredFile, Upload, check_purpose
from metering.access import Access
from metering.errors import InvalidParameter

_FIELDS = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}
_FIELD_BYTES = 1000
_WRITE_BYTES = 2**20


async def receive_file(
    request: Request, files: Files, access: Access, workspace_id: str | None
) -> StoredFile:
    """Stores the file of a multipart request; whatever is wrong with the form is refused, and nothing stays."""
    boundary = _boundary(request)
    with ExitStack() as stack:
        # It begins before the body is read, so that a caller who may not is told so at once.
        upload = await run_in_threadpool(files.receive, access, filename=None, workspace_id=workspace_id)
        await run_in_threadpool(stack.enter_context, upload)
        form = _Form(boundary)
        try:
            await _read(request, form, upload, files.limits.file_bytes)
        except ClientDisconnect:
            raise _broken("the connection was closed") from None  # nobody hears it, and nothing went wrong
        form.complete(upload)
        return await run_in_threadpool(upload.commit)


async def _read(request: Request, form: "_Form", upload: Upload, largest_bytes: int) -> None:
    refusal: FileTooLarge | None = None
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if refusal is not None:
            # A client that still sends would not see an early answer; but its patience is not ours.
            if read > 2 * largest_bytes:
                raise refusal
            continue
        form.feed(chunk)
        if form.waiting_bytes >= _WRITE_BYTES:
            try:
                await run_in_threadpool(upload.write, form.take())
            except FileTooLarge as error:
                refusal = error
    if refusal is not None:
        raise refusal
    if form.waiting_bytes:
        await run_in_threadpool(upload.write, form.take())


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidParameter(
            "Send the file as multipart/form-data with the fields 'file' and 'purpose'.",
            param="file",
            code="invalid_multipart",
        )
    return options[b"boundary"]


@dataclass(slots=True)
class _Part:
    """The part of the form that is being read."""

    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    name: str = ""


class _Form:
    """What arrived of a form: fields by name, and bytes of the file that wait to be written."""

    def __init__(self, boundary: bytes) -> None:
        self.filename: str | None = None
        self.waiting_bytes = 0
        self._waiting: list[bytes] = []
        self._fields: dict[str, bytearray] = {}
        self._ended = False
        self._file_seen = False
        self._part = _Part()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _broken(str(error)) from None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body; a malformed form is refused."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(str(error)) from None

    def take(self) -> bytes:
        """The bytes of the file that came since the last time."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        return data

    def complete(self, upload: Upload) -> None:
        """Checks that the form is whole, and tells the upload what its fields say."""
        if not self._ended:
            raise _broken("it ends in the middle")
        for name, seen in (("file", self._file_seen), ("purpose", "purpose" in self._fields)):
            if not seen:
                raise InvalidParameter(
                    f"Missing required parameter: '{name}'. Add it to the form.",
                    param=name,
                    code="missing_required_parameter",
                )
        check_purpose(self._text("purpose"))
        upload.name(self.filename)
        upload.expires_after_seconds = self._expiry()

    def _expiry(self) -> int | None:
        anchor, seconds = self._text("expires_after[anchor]"), self._text("expires_after[seconds]")
        if anchor is None and seconds is None:
            return None
        if anchor != "created_at":
            raise InvalidParameter(
                "'expires_after[anchor]' must be 'created_at'.", param="expires_after[anchor]"
            )
        if seconds is None or not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 10):
            raise InvalidParameter(
                "'expires_after[seconds]' must be an integer from 3600 to 2592000.",
                param="expires_after[seconds]",
            )
        return int(seconds)

    def _text(self, name: str) -> str | None:
        value = self._fields.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    # -- what the parser tells ---------------------------------------------------------------------

    def _begin_part(self) -> None:
        self._part = _Part()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end]

    def _end_header(self) -> None:
        if bytes(self._part.header_name).lower() == b"content-disposition":
            self._part.disposition = bytes(self._part.header_value)
        self._part.header_name.clear()
        self._part.header_value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._part.disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file":
            if self._file_seen:
                raise InvalidParameter("The form has several fields 'file'; send one.", param="file")
            self._file_seen = True
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        elif name not in _FIELDS:
            raise InvalidParameter(
                f"Unknown parameter: '{name[:100]}'. The form has 'file', 'purpose' and 'expires_after'.",
                param=name[:100] or None,
                code="unknown_parameter",
            )
        else:
            self._fields[name] = bytearray()
        self._part.name = name

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        name = self._part.name
        if name == "file":
            self._waiting.append(data[start:end])
            self.waiting_bytes += end - start
            return
        self._fields[name] += data[start:end]
        if len(self._fields[name]) > _FIELD_BYTES:
            raise InvalidParameter(f"'{name}' is longer than {_FIELD_BYTES} bytes.", param=name)

    def _end(self) -> None:
        self._ended = True


def _broken(reason: str) -> InvalidParameter:
    return InvalidParameter(
        f"The body is no complete multipart/form-data: {reason}.", param="file", code="invalid_multipart"
    )
