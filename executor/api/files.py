"""`/v1/files…`: upload, see, download, check and delete files (SPEC §3.1, §3.3)."""

import threading
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse

from executor.api.batch_object import errors_object, unix
from executor.api.calls import After, Caller, JsonBody, WorkspaceId, json_request, list_object
from executor.api.partial import JSONL
from executor.api.upload import receive_file
from executor.batches import Batches
from executor.files import Files, StoredFile
from executor.line_faults import ENDPOINTS, quoted
from executor.models import ModelCatalog
from executor.new_batch import required_text
from executor.validation import Report, validate
from metering.access import Access
from metering.errors import InvalidParameter, NotFound, TooMany

VALIDATION_WAIT_SECONDS = 10
"""How long a check waits for others to end before it is refused."""

FileId = Annotated[str, Path(max_length=100, examples=["file-batch-68f1c2d4e5a64b7f9c0d1e2f"])]

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": ["batch"]},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
                    },
                }
            }
        },
    }
}
_VALIDATE = json_request(
    {
        "type": "object",
        "required": ["endpoint"],
        "properties": {"endpoint": {"type": "string", "enum": list(ENDPOINTS)}},
    }
)


def router(files: Files, batches: Batches, catalog: ModelCatalog) -> APIRouter:
    """The routes of files."""
    routes = APIRouter(tags=["files"])
    checks = _Checks(files, batches, catalog)

    @routes.post("/v1/files", summary="Upload a file; it is streamed to disk", openapi_extra=_UPLOAD)
    async def upload_file(
        request: Request, access: Caller, workspace_id: WorkspaceId = None
    ) -> dict[str, Any]:
        return file_object(await receive_file(request, files, access, workspace_id))

    @routes.get("/v1/files", summary="Uploads and outputs")
    def list_files(
        access: Caller,
        purpose: Annotated[str | None, Query(max_length=100, description="batch or batch_output")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        after: After = None,
        order: Literal["asc", "desc"] = "desc",
        workspace_id: WorkspaceId = None,
    ) -> dict[str, Any]:
        page = files.list(
            access, purpose=purpose, limit=limit, after=after, order=order, workspace_id=workspace_id
        )
        return list_object(page, file_object)

    @routes.get("/v1/files/{file_id}", summary="One file")
    def get_file(access: Caller, file_id: FileId, workspace_id: WorkspaceId = None) -> dict[str, Any]:
        return file_object(files.get(access, file_id, workspace_id))

    @routes.get("/v1/files/{file_id}/content", response_class=FileResponse, responses=JSONL)
    def get_content(access: Caller, file_id: FileId, workspace_id: WorkspaceId = None) -> FileResponse:
        """The bytes of a file, streamed from disk; a range of them, if asked."""
        file = files.get(access, file_id, workspace_id)
        path = files.path_of(file)
        if not path.is_file():
            raise NotFound("content of the file", file_id, param="file_id")
        return FileResponse(path, media_type="application/jsonl", filename=file.filename)

    @routes.delete("/v1/files/{file_id}", summary="Delete a file that no running task uses")
    def delete_file(access: Caller, file_id: FileId, workspace_id: WorkspaceId = None) -> dict[str, Any]:
        file = files.delete(access, file_id, workspace_id)
        return {"id": file.id, "object": "file", "deleted": True}

    @routes.post(
        "/v1/files/{file_id}/validate", summary="What a task would say of a file", openapi_extra=_VALIDATE
    )
    def validate_file(
        access: Caller, file_id: FileId, body: JsonBody, workspace_id: WorkspaceId = None
    ) -> dict[str, Any]:
        return checks.check(access, file_id, body, workspace_id)

    return routes


def file_object(file: StoredFile) -> dict[str, Any]:
    """OpenAI's file object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": unix(file.created_at),
        "expires_at": unix(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


class _Checks:
    """Validates files for callers, a few at once."""

    def __init__(self, files: Files, batches: Batches, catalog: ModelCatalog) -> None:
        self._files = files
        self._batches = batches
        self._catalog = catalog
        self._slots = threading.BoundedSemaphore(files.limits.validations_at_once)

    def check(self, access: Access, file_id: str, body: object, workspace_id: str | None) -> dict[str, Any]:
        """The report as JSON."""
        endpoint = _endpoint(body)
        file = self._files.get(access, file_id, workspace_id)
        if file.purpose != "batch":
            raise InvalidParameter(
                f"The file {file_id!r} has the purpose '{file.purpose}'; only 'batch' can be checked.",
                param="file_id",
            )
        # The file's workspace decides which models it may name, whoever asks.
        allowed = self._batches.usable_models(access, file.workspace_id)
        if not self._slots.acquire(timeout=VALIDATION_WAIT_SECONDS):
            raise TooMany("Too many files are being checked; try again soon.", code="too_many_validations")
        try:
            path = self._files.path_of(file)
            report = validate(path, endpoint, self._catalog, allowed, self._files.limits)
        except FileNotFoundError:
            raise NotFound("content of the file", file_id, param="file_id") from None
        finally:
            self._slots.release()
        return report_object(file, endpoint, report)


def _endpoint(body: object) -> str:
    if not isinstance(body, dict):
        raise InvalidParameter("The body must be a JSON object with 'endpoint'.", param=None)
    endpoint = required_text(body, "endpoint")
    if endpoint not in ENDPOINTS:
        raise InvalidParameter(
            f"Invalid value: {quoted(endpoint)}. Supported values are: {', '.join(ENDPOINTS)}.",
            param="endpoint",
        )
    return endpoint


def report_object(file: StoredFile, endpoint: str, report: Report) -> dict[str, Any]:
    """A validation's report; `errors` is what a failed batch would show."""
    return {
        "object": "file.validation",
        "file_id": file.id,
        "endpoint": endpoint,
        "valid": report.valid,
        "model": report.model,
        "total": report.total,
        "error_count": report.error_count,
        "errors": errors_object(report.errors) if report.errors else None,
    }
