"""What the console does: makes and cancels tasks, workspaces and keys. Each route is given the caller's Access."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, jsonify, request

from dashboard.filters import settings_href, task_href
from dashboard.intake import Intake, endpoint_of
from dashboard.services import ConsoleServices
from dashboard.session import current_access
from dashboard.workspace import asked_terms, expiry
from executor.new_batch import NewBatch
from metering.errors import InvalidParameter, Refused

LONGEST_DAYS = 14


def actions(server: Flask, services: ConsoleServices) -> None:
    """Puts the routes on the console's server. All are POST, and were checked to come from the console."""
    spaces, intake = services.workspaces, Intake(services)
    _route(server, "/do/tasks", lambda: _create(services, intake))
    _route(server, "/do/preview", lambda: intake.preview(current_access()))
    _route(server, "/do/check", lambda: _check(services, intake))
    _route(server, "/do/tasks/<task_id>/cancel", lambda task_id: _cancel(services, task_id))
    _route(server, "/do/tasks/<task_id>/retry", lambda task_id: _retry(services, task_id))
    of_admin: dict[str, Callable[..., dict[str, Any]]] = {
        "": lambda: _made(spaces.create(_name(_body()))),
        "/<w>/enable": lambda w: _done(spaces.change(w, {"disabled": False})),
        "/<w>/disable": lambda w: _done(spaces.change(w, {"disabled": True})),
        "/<w>/change": lambda w: _changed(services, w),
        "/<w>/keys": lambda w: _key(services, w),
        "/<w>/keys/<key>/revoke": lambda w, key: _done(spaces.revoke_key(w, key)),
    }
    for rule, act in of_admin.items():
        _route(server, f"/do/workspaces{rule}", act, admin=True)


def _route(server: Flask, rule: str, act: Callable[..., dict[str, Any]], *, admin: bool = False) -> None:
    def answer(**values: str) -> Response:
        if admin:
            current_access().require_admin()
        return jsonify(act(**values))

    server.add_url_rule(rule, rule, answer, methods=["POST"])


def _body() -> Mapping[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise InvalidParameter("The body must be a JSON object.", param="body")
    return body


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise InvalidParameter("Give it a name.", param="name")
    return name.strip()


def _made(made: tuple[Any, str | None]) -> dict[str, Any]:
    return {"id": made[0].id, "href": settings_href(made[0].id)}


def _key(services: ConsoleServices, workspace_id: str) -> dict[str, Any]:
    body = _body()
    expires_at = expiry(str(body.get("days", "")), services.clock())
    key, secret = services.workspaces.create_key(workspace_id, _name(body), expires_at)
    return {"id": key.id, "secret": secret, "secret_title": "Copy this key now"}


def _changed(services: ConsoleServices, workspace_id: str) -> dict[str, Any]:
    """Sets what differs; a webhook's address that stays keeps its secret."""
    before = services.workspaces.get(workspace_id)
    changes = {k: v for k, v in asked_terms(_body()).items() if v != getattr(before, k)}
    _, secret = services.workspaces.change(workspace_id, changes) if changes else (before, None)
    return {"secret": secret, "secret_title": "Copy the secret that signs its webhooks"} if secret else {}


def _done(_: Any) -> dict[str, Any]:
    return {}


def _cancel(services: ConsoleServices, task_id: str) -> dict[str, Any]:
    task = services.batches.cancel(current_access(), task_id)
    return {"id": task.id, "status": task.status}


def _retry(services: ConsoleServices, task_id: str) -> dict[str, Any]:
    task = services.batches.retry(current_access(), task_id)
    return {"id": task.id, "status": task.status, "href": task_href(task.id)}


def _check(services: ConsoleServices, intake: Intake) -> dict[str, Any]:
    access, asked = current_access(), request.args
    if "clone" in asked:
        return intake.check_again(access, services.batches.get(access, asked["clone"]))
    return intake.check(access, asked, access.home(asked.get("workspace") or None))


def _create(services: ConsoleServices, intake: Intake) -> dict[str, Any]:
    """A task on the input file of another one, or on what the body holds."""
    if "clone" in request.args:
        return _clone(services)
    return _create_of_body(services, intake)


def _clone(services: ConsoleServices) -> dict[str, Any]:
    access, asked = current_access(), request.args
    like = services.batches.get(access, asked["clone"])
    wanted = NewBatch(
        input_file_id=like.input_file_id,
        endpoint=like.endpoint,
        completion_window=_window(asked),
        metadata={**_others(like.metadata), **_metadata(asked)},
        output_expires_after=like.output_expires_after,
    )
    task = services.batches.create(access, wanted, workspace_id=like.workspace_id)
    return {"id": task.id, "status": task.status}


def _others(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """What a task has beside the name and the description, which the dialogue asks for."""
    return {k: v for k, v in (metadata or {}).items() if k not in ("ds_name", "ds_description")}


def _create_of_body(services: ConsoleServices, intake: Intake) -> dict[str, Any]:
    """Streams the body to a stored file and makes a task of it; a refused task leaves no file behind."""
    access, asked = current_access(), request.args
    workspace = access.home(asked.get("workspace") or None)
    window, metadata = _window(asked), _metadata(asked)
    file = intake.receive(access, asked, workspace)
    try:
        wanted = NewBatch(
            input_file_id=file.id,
            endpoint=endpoint_of(services.files.path_of(file), services.limits.line_bytes),
            completion_window=window,
            metadata=metadata,
        )
        task = services.batches.create(access, wanted, workspace_id=workspace)
    except Refused:
        services.files.delete(access, file.id)
        raise
    return {"id": task.id, "status": task.status}


def _metadata(asked: Mapping[str, str]) -> dict[str, str]:
    name, description = asked.get("name", "").strip(), asked.get("description", "").strip()
    if not name:
        raise InvalidParameter("Give the task a name.", param="name")
    given = {"ds_name": name, "ds_description": description}
    return {key: value for key, value in given.items() if value}


def _window(asked: Mapping[str, str]) -> str:
    days = asked.get("days", "1")
    if not days.isdecimal() or not 1 <= int(days) <= LONGEST_DAYS:
        raise InvalidParameter(f"The longest wait is 1 to {LONGEST_DAYS} days.", param="days")
    return f"{int(days)}d"
