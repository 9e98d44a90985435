"""`POST /v1/backup`: everything that the data folder holds, as one archive. The admin's alone."""

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from nightrate.auth import ADMIN_TAG
from nightrate.backup.making import Backup, Backups

_ARCHIVE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A tar archive; `SHA256SUMS` is its last member. The header `x-nightrate-bytes` says about how long it is.",
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
    },
    409: {"description": "another backup is being made"},
    507: {"description": "no room for the copy of the database"},
}
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BackupBody(BaseModel):
    """What need not be sent."""

    model_config = ConfigDict(extra="forbid")

    have: dict[str, Sha256] = Field(
        default_factory=dict, description="Files of an earlier backup: names and SHA-256."
    )


class _Archive(StreamingResponse):
    """A backup as it is sent. It ends with the answer, whether or not that came to its end."""

    def __init__(self, backups: Backups, backup: Backup) -> None:
        self._backups, self._backup = backups, backup
        headers = {"x-nightrate-bytes": str(backup.bytes)}
        super().__init__(backup.pieces(), headers=headers, media_type="application/x-tar")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._backups.end, self._backup)


def router(backups: Backups) -> APIRouter:
    """The route over its service."""
    routes = APIRouter(tags=[ADMIN_TAG])

    @routes.post(
        "/v1/backup",
        response_class=StreamingResponse,
        responses=_ARCHIVE,
        summary="The whole data folder of this moment, as a tar archive",
    )
    def back_up(body: BackupBody | None = None) -> StreamingResponse:
        return _Archive(backups, backups.begin((body or BackupBody()).have))

    return routes
