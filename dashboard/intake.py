"""A data file on its way in: kept as it is or made from a table, and checked before a task is made of it."""

import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from flask import request

from dashboard.estimate import estimate
from dashboard.excerpts import excerpts
from dashboard.reading import usable_models
from dashboard.services import ConsoleServices
from executor.convert import Conversion, RowError, convert, preview
from executor.files import StoredFile
from executor.options import TEST_ENDPOINT, TEST_MODEL, UPSTREAM_ENDPOINTS
from executor.tasks import LineError, Task
from executor.validation import validate
from metering.access import Access
from metering.errors import InvalidParameter, TooMany

PART_BYTES = 1 << 20
PREVIEW_BYTES = 1 << 16
PREVIEW_ROWS = 4
SHOWN_ERRORS = 1001
"""All that validation names: the first thousand, and that there are more."""
EXCERPT_BYTES = 200
WAIT_SECONDS = 20
Json = dict[str, Any]


class BadTable(InvalidParameter):
    """A table can't become requests; the first bad row is named."""

    def __init__(self, errors: list[RowError]) -> None:
        more = f" (+ {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"Row {errors[0].row}: {errors[0].message}{more}", param="file")
        self.errors = errors


class Intake:
    """Takes the files of the create dialogue."""

    def __init__(self, services: ConsoleServices) -> None:
        self._services = services
        self._checks = threading.BoundedSemaphore(services.limits.validations_at_once)

    def preview(self, access: Access) -> Json:
        """How the table in the body begins, and the models that its rows could ask."""
        text = request.stream.read(PREVIEW_BYTES).decode("utf-8-sig", errors="replace")
        found = preview(text, PREVIEW_ROWS)
        models = [m for m in usable_models(self._services, access) if self._chats(m)]
        return {"delimiter": found.delimiter, "header": found.header, "rows": found.rows, "models": models}

    def _chats(self, model: str) -> bool:
        options = self._services.catalog.get(model)
        return options is not None and (model == TEST_MODEL or UPSTREAM_ENDPOINTS[0] in options.endpoints)

    def receive(self, access: Access, asked: Mapping[str, str], workspace: str) -> StoredFile:
        """Streams the body to a stored file, through the conversion if it is a table."""
        name = asked.get("filename", "")
        if "content_column" not in asked:
            with self._upload(access, name, workspace) as upload:
                _copy(request.stream, upload)
                return _committed(upload)
        with self._converted(asked) as table, self._upload(access, f"{name}.jsonl", workspace) as upload:
            with table.open("rb") as lines:
                _copy(lines, upload)
            return _committed(upload)

    def check(self, access: Access, asked: Mapping[str, str], workspace: str) -> Json:
        """What validation says of the body, and an estimate of what it would cost. Nothing is kept."""
        with self._one_of_few():
            try:
                file = self.receive(access, asked, workspace)
            except BadTable as bad:
                return _bad_rows(bad.errors)
            try:
                return self._report(access, file, workspace)
            finally:
                self._services.files.delete(access, file.id)

    def check_again(self, access: Access, task: Task) -> Json:
        """The same of a file that is stored already."""
        file = self._services.files.get(access, task.input_file_id)
        with self._one_of_few():
            return self._report(access, file, task.workspace_id)

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        if not self._checks.acquire(timeout=WAIT_SECONDS):
            raise TooMany("Too many files are being checked; try again soon.", code="too_many_validations")
        try:
            yield
        finally:
            self._checks.release()

    def _report(self, access: Access, file: StoredFile, workspace: str) -> Json:
        services = self._services
        path = services.files.path_of(file)
        allowed = services.batches.usable_models(access, workspace)
        endpoint = endpoint_of(path, services.limits.line_bytes)
        report = validate(path, endpoint, services.catalog, allowed, services.limits)
        told = report.valid and report.model
        return {
            "valid": report.valid,
            "total": report.total,
            "model": report.model,
            "errors": _shown(path, report.errors[:SHOWN_ERRORS]),
            "error_count": report.error_count,
            "estimate": estimate(services, access, workspace, told, report.total) if told else None,
        }

    def _upload(self, access: Access, name: str, workspace: str) -> Any:
        return self._services.files.receive(
            access, filename=name, purpose="batch", expires_after_seconds=None, workspace_id=workspace
        )

    @contextmanager
    def _converted(self, asked: Mapping[str, str]) -> Iterator[Path]:
        limits, how = self._services.limits, conversion_of(asked)
        with tempfile.TemporaryDirectory(dir=Path(self._services.data_folder) / "tmp") as folder:
            source, target = Path(folder) / "table.csv", Path(folder) / "lines.jsonl"
            with source.open("wb") as table:
                for part in _parts(request.stream, limits.file_bytes):
                    table.write(part)
            with target.open("w", encoding="utf-8") as lines:
                _, errors = convert(source, lines, how, line_bytes=limits.line_bytes)
            if errors:
                raise BadTable(errors)
            yield target


def _bad_rows(errors: Sequence[RowError]) -> Json:
    """The faults of a table, of which no file could be made."""
    rows = [{"line": e.line, "code": "row", "message": f"Row {e.row}: {e.message}"} for e in errors]
    return {"valid": False, "total": 0, "errors": rows[:SHOWN_ERRORS], "error_count": len(errors)}


def _shown(path: Path, errors: Sequence[LineError]) -> list[Json]:
    """The faults, each with the beginning of its line."""
    lines = excerpts(path, {e.line for e in errors if e.line is not None}, EXCERPT_BYTES)
    return [
        {"line": e.line, "code": e.code, "message": e.message, "text": lines.get(e.line or 0)} for e in errors
    ]


def conversion_of(asked: Mapping[str, str]) -> Conversion:
    """How a table becomes requests, as the dialogue asks for it."""
    column, identity = asked.get("content_column", ""), asked.get("id_column", "")
    if not column.isdecimal() or not (identity.isdecimal() or not identity):
        raise InvalidParameter("Choose the column that holds what is asked.", param="content_column")
    if not asked.get("model"):
        raise InvalidParameter("Choose a model.", param="model")
    return Conversion(
        model=asked["model"],
        system=asked.get("system", "").strip() or None,
        header="yes" if asked.get("header") == "yes" else "no",
        delimiter=asked.get("delimiter", ",")[:1] or ",",
        id_column=int(identity) if identity else None,
        content_column=int(column),
    )


def endpoint_of(path: Path, line_bytes: int) -> str:
    """The endpoint that the first line asks; what can't be read is left to validation, which names the line."""
    with path.open("rb") as file:
        line = next((line for line in iter(lambda: file.readline(line_bytes), b"") if line.strip()), b"")
    try:
        url = json.loads(line.decode("utf-8-sig"))["url"]
    except (ValueError, KeyError, TypeError):
        return UPSTREAM_ENDPOINTS[0]
    return url if url in (*UPSTREAM_ENDPOINTS, TEST_ENDPOINT) else UPSTREAM_ENDPOINTS[0]


def _parts(source: Any, most: int | None = None) -> Iterator[bytes]:
    read = 0
    while part := source.read(PART_BYTES):
        read += len(part)
        if most is not None and read > most:
            raise InvalidParameter(f"The file is larger than {most // 1_000_000} MB.", param="file")
        yield part


def _copy(source: BinaryIO | Any, upload: Any) -> None:
    for part in _parts(source):
        upload.write(part)


def _committed(upload: Any) -> StoredFile:
    file: StoredFile = upload.commit()
    return file
