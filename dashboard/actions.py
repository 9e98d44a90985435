"""What the console does: makes and cancels tasks, workspaces and keys. Each route is given the caller's Access."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request

from dashboard.filters import task_href
from dashboard.intake import Intake, endpoint_of
from dashboard.services import ConsoleServices
from dashboard.session import current_access
from executor.new_batch import NewBatch
from metering.errors import InvalidParameter, Refused

LONGEST_DAYS = 14


def actions(server: Flask, services: ConsoleServices) -> None:
    """Puts the routes on the console's server. All are POST, and were checked to come from the console."""
    spaces, intake = services.workspaces, Intake(services)
    _route(server, "/do/tasks", lambda: _create(services, intake))
    _route(server, "/do/preview", lambda: intake.preview(current_access()))
    _route(server, "/do/check", lambda: _check(intake))
    _route(server, "/do/tasks/<task_id>/cancel", lambda task_id: _cancel(services, task_id))
    _route(server, "/do/tasks/<task_id>/retry", lambda task_id: _retry(services, task_id))
    _route(server, "/do/workspaces", lambda: _made(spaces.create(_name())), admin=True)
    _route(
        server,
        "/do/workspaces/<w>/enable",
        lambda w: _done(spaces.change(w, {"disabled": False})),
        admin=True,
    )
    _route(
        server,
        "/do/workspaces/<w>/disable",
        lambda w: _done(spaces.change(w, {"disabled": True})),
        admin=True,
    )
    _route(server, "/do/workspaces/<w>/keys", lambda w: _secret(spaces.create_key(w, _name())), admin=True)
    _route(
        server,
        "/do/workspaces/<w>/keys/<key>/revoke",
        lambda w, key: _done(spaces.revoke_key(w, key)),
        admin=True,
    )


def _route(server: Flask, rule: str, act: Callable[..., dict[str, Any]], *, admin: bool = False) -> None:
    def answer(**values: str) -> Response:
        if admin:
            current_access().require_admin()
        return jsonify(act(**values))

    server.add_url_rule(rule, rule, answer, methods=["POST"])


def _name() -> str:
    body = request.get_json(silent=True)
    name = body.get("name") if isinstance(body, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise InvalidParameter("Give it a name.", param="name")
    return name.strip()


def _made(made: tuple[Any, str | None]) -> dict[str, Any]:
    return {"id": made[0].id}


def _secret(made: tuple[Any, str]) -> dict[str, Any]:
    return {"id": made[0].id, "secret": made[1]}


def _done(_: Any) -> dict[str, Any]:
    return {}


def _cancel(services: ConsoleServices, task_id: str) -> dict[str, Any]:
    task = services.batches.cancel(current_access(), task_id)
    return {"id": task.id, "status": task.status}


def _retry(services: ConsoleServices, task_id: str) -> dict[str, Any]:
    task = services.batches.retry(current_access(), task_id)
    return {"id": task.id, "status": task.status, "href": task_href(task.id)}


def _check(intake: Intake) -> dict[str, Any]:
    access = current_access()
    return intake.check(access, request.args, access.home(request.args.get("workspace") or None))


def _create(services: ConsoleServices, intake: Intake) -> dict[str, Any]:
    """Streams the body to a stored file and makes a task of it; a refused task leaves no file behind."""
    access, asked = current_access(), request.args
    workspace = access.home(asked.get("workspace") or None)
    days = _days(asked.get("days", "1"))
    file = intake.receive(access, asked, workspace)
    try:
        wanted = NewBatch(
            input_file_id=file.id,
            endpoint=endpoint_of(services.files.path_of(file), services.limits.line_bytes),
            completion_window=f"{days}d",
            metadata=_metadata(asked.get("name", ""), asked.get("description", "")),
        )
        task = services.batches.create(access, wanted, workspace_id=workspace)
    except Refused:
        services.files.delete(access, file.id)
        raise
    return {"id": task.id, "status": task.status}


def _metadata(name: str, description: str) -> dict[str, str]:
    if not name.strip():
        raise InvalidParameter("Give the task a name.", param="name")
    given = {"ds_name": name.strip(), "ds_description": description.strip()}
    return {key: value for key, value in given.items() if value}


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_DAYS:
        raise InvalidParameter(f"The longest wait is 1 to {LONGEST_DAYS} days.", param="days")
    return int(text)
