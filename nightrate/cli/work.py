"""Commands on tasks: submit, tasks, results, cancel, retry."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from nightrate.cli.download import save
from nightrate.cli.failure import FAILED, CliFailure, wrong_use
from nightrate.cli.files import Endpoint, InputFile, endpoint_of
from nightrate.cli.service import NotReachable, Service, segment
from nightrate.cli.shown import Screen, utc_time
from nightrate.cli.surroundings import AsJson, Config, Key, Surroundings, Url, WorkspaceId

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
"""How long `submit --wait` puts up with a service that is being restarted."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

IdempotencyKey = Annotated[
    str | None, typer.Option("--idempotency-key", help="The same key gives the same task, for 24 hours")
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the task ended")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task, batch_…")]


def connect(config: Path | None, url: str | None, key: str | None) -> Service:
    """The running service that the options, the environment or the settings name."""
    around = Surroundings(os.environ, config, url, key)
    return Service(around.service_url, around.api_key)


def submit(
    file: InputFile,
    wait: Wait = False,
    endpoint: Endpoint = None,
    window: Annotated[str, typer.Option("--window", help="Longest wait: 24h to 336h, or 1d to 14d")] = "24h",
    name: Annotated[str | None, typer.Option("--name", help="The task's name in the console")] = None,
    description: Annotated[str | None, typer.Option("--description")] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE")] = None,
    workspace: WorkspaceId = None,
    idempotency_key: IdempotencyKey = None,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Uploads a JSONL file and makes a task of it; prints the task's id."""
    service, screen = connect(config, url, key), Screen()
    about = _metadata(metadata or [], name, description)
    with screen.bytes_bar("Uploading", file.stat().st_size) as progressed:
        uploaded = service.upload(file, progressed, workspace_id=workspace)
    wanted = {
        "input_file_id": uploaded["id"],
        "endpoint": endpoint or endpoint_of(file),
        "completion_window": window,
        "metadata": about or None,
    }
    batch = service.post("/v1/batches", wanted, headers=_once(idempotency_key), workspace_id=workspace)
    print(batch["id"])
    if wait:
        _finish(screen, _watch(service, screen, batch))


def _once(idempotency_key: str | None) -> dict[str, str] | None:
    return {"idempotency-key": idempotency_key} if idempotency_key else None


def _metadata(pairs: list[str], name: str | None, description: str | None) -> dict[str, str]:
    about: dict[str, str] = {}
    for pair in pairs:
        field, equals, value = pair.partition("=")
        if not equals or not field:
            raise wrong_use(f"--metadata {pair!r} is not KEY=VALUE")
        about[field] = value
    given = {"ds_name": name, "ds_description": description}
    return about | {field: value for field, value in given.items() if value is not None}


def _watch(service: Service, screen: Screen, batch: dict[str, Any]) -> dict[str, Any]:
    """Shows a task until it ended; a service that is restarted meanwhile is waited for."""
    path, heard = f"/v1/batches/{segment(batch['id'])}", time.monotonic()
    try:
        with screen.requests_bar() as bar:
            while batch["status"] not in ENDED:
                bar.show(batch)
                time.sleep(POLL_SECONDS)
                try:
                    batch, heard = service.get(path), time.monotonic()
                except NotReachable:
                    if time.monotonic() - heard > PATIENCE_SECONDS:
                        raise
            bar.show(batch)
    except KeyboardInterrupt as error:
        raise CliFailure(
            "stopped watching; the task goes on", hint=f"nightrate tasks {batch['id']}"
        ) from error
    return batch


def _finish(screen: Screen, batch: dict[str, Any]) -> None:
    """Says how it ended; exit code 1 unless it is completed."""
    screen.say(ending_of(batch))
    if batch["status"] == "failed":
        errors = (batch.get("errors") or {}).get("data") or []
        columns = [(">Line", "line"), ("Code", "code"), ("Field", "param"), ("What is wrong", "message")]
        screen.rows(columns, errors[:50], empty="")
    elif batch["output_file_id"] or batch["error_file_id"]:
        screen.say(f"Results: nightrate results {batch['id']}")
    if batch["status"] != "completed":
        raise typer.Exit(FAILED)


def ending_of(batch: dict[str, Any]) -> str:
    """One sentence on an ended task and what it cost."""
    counts, own = batch["request_counts"], batch.get("nightrate") or {}
    never = counts["total"] - counts["completed"] - counts["failed"]
    parts = [f"{counts['completed']:,} succeeded", f"{counts['failed']:,} failed"]
    parts += [f"{never:,} never executed"] if never else []
    cost = ""
    if own.get("amount") is not None and own.get("currency"):
        cost = f" It costs {own['amount']} {own['currency']}, list price {own['list_amount']}."
    return f"{batch['id']} {batch['status']}: {', '.join(parts)} of {counts['total']:,}.{cost}"


def tasks(
    task_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only this task, with its details")
    ] = None,
    status: Annotated[str | None, typer.Option("--status")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Part of the task's name")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 20,
    workspace: WorkspaceId = None,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Lists tasks, newest first, or shows one."""
    service, screen = connect(config, url, key), Screen()
    if task_id is not None:
        found = [service.get(f"/v1/batches/{segment(task_id)}")]
    else:
        about = {"status": status, "ds_name": name, "workspace_id": workspace}
        found = service.all_pages("/v1/batches", most=limit, **about)
    if as_json:
        return screen.json(found[0] if task_id is not None else found)
    _show_tasks(screen, found)
    if task_id is not None:
        _show_details(screen, found[0])
    return None


def _show_tasks(screen: Screen, batches: list[dict[str, Any]]) -> None:
    columns = [
        ("Task", "id"),
        ("Name", "name"),
        ("Status", "status"),
        ("Model", "model"),
        (">Done", "done"),
        (">Failed", "failed"),
        (">Total", "total"),
        ("Created (UTC)", "created"),
        (">Amount", "amount"),
    ]
    screen.rows(columns, [_task_row(batch) for batch in batches], empty="There is no such task.")


def _task_row(batch: dict[str, Any]) -> dict[str, Any]:
    counts, own = batch["request_counts"], batch.get("nightrate") or {}
    amount = own.get("amount")
    return {
        **batch,
        "name": own.get("name"),
        "done": counts["completed"] + counts["failed"],
        "failed": counts["failed"],
        "total": counts["total"],
        "created": utc_time(batch["created_at"]),
        "amount": f"{amount} {own.get('currency') or ''}".strip() if amount is not None else None,
    }


def _show_details(screen: Screen, batch: dict[str, Any]) -> None:
    own = batch.get("nightrate") or {}
    if own.get("waiting"):
        screen.say(f"Waiting since {utc_time(own['waiting']['since'])} UTC: {own['waiting']['reason']}.")
    if own.get("estimated_end_at") and batch["status"] not in ENDED:
        screen.say(f"It should end about {utc_time(own['estimated_end_at'])} UTC.")
    for error in ((batch.get("errors") or {}).get("data") or [])[:50]:
        where = f"line {error['line']}: " if error.get("line") else ""
        screen.say(f"{where}{error['code']}: {error['message']}")


def results(
    task_id: TaskId,
    errors: Annotated[
        bool, typer.Option("--errors", help="The error file instead of the result file")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="What there is by now of a task that still runs")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write here [standard output]")] = None,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Fetches the result file of an ended task, or with --errors its error file."""
    if partial and errors:
        raise wrong_use("--partial and --errors can't be given together", "Errors are there at the end.")
    service, screen = connect(config, url, key), Screen()
    batch = service.get(f"/v1/batches/{segment(task_id)}")
    if partial and batch["status"] not in ENDED:
        return _results_so_far(service, screen, batch, out)
    file_id = batch["error_file_id" if errors else "output_file_id"]
    if file_id is None:
        raise _no_file(batch, errors)
    with service.download(f"/v1/files/{segment(file_id)}/content") as answer:
        save(screen, answer.pieces(), answer.size, out, "Downloading")
    return None


def _results_so_far(service: Service, screen: Screen, batch: dict[str, Any], out: Path | None) -> None:
    with service.download(f"/v1/batches/{segment(batch['id'])}/results") as answer:
        save(screen, answer.pieces(), answer.size, out, "Downloading")
    counts = batch["request_counts"]
    screen.say(
        f"These are partial results: {batch['id']} is {batch['status']}, at least {counts['completed']:,} "
        f"of {counts['total']:,} requests had succeeded."
    )


def _no_file(batch: dict[str, Any], errors: bool) -> CliFailure:
    if batch["status"] not in ENDED:
        counts = batch["request_counts"]
        done = counts["completed"] + counts["failed"]
        return CliFailure(
            f"{batch['id']} is {batch['status']}: {done:,} of {counts['total']:,} requests are done",
            hint=f"Files are there when the task ended; what there is now: nightrate results --partial {batch['id']}",
        )
    if errors:
        return CliFailure(f"{batch['id']} has no error file: no request failed")
    hint = (
        None if batch["status"] == "failed" else "Its error file: nightrate results --errors " + batch["id"]
    )
    return CliFailure(
        f"{batch['id']} ({batch['status']}) has no result file: no request succeeded", hint=hint
    )


def cancel(task_id: TaskId, config: Config = None, url: Url = None, key: Key = None) -> None:
    """Cancels a task; what is done is delivered and billed."""
    batch = connect(config, url, key).post(f"/v1/batches/{segment(task_id)}/cancel")
    Screen().say(f"{batch['id']} is {batch['status']}.")


def retry(
    task_id: TaskId,
    wait: Wait = False,
    idempotency_key: IdempotencyKey = None,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Runs the failed and never-executed requests of an ended task again; prints the new task's id."""
    service, screen = connect(config, url, key), Screen()
    batch = service.post(f"/v1/batches/{segment(task_id)}/retry", headers=_once(idempotency_key))
    print(batch["id"])
    if wait:
        _finish(screen, _watch(service, screen, batch))
