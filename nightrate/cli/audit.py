"""The command `audit`: proves the ledger from result files and events, or says what is wrong with it."""

import os
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from nightrate.cli.failure import FAILED, CliFailure
from nightrate.cli.service import NotReachable, Service
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import AsJson, Config, Key, Surroundings, Url, WorkspaceId

_VERDICTS = (
    ("verified", "proved from result files and events"),
    ("digest_only", "files deleted or expired; the events agree with the digest"),
    ("not_verifiable", "files and events gone by their retention; the digest agrees"),
    ("different", "something is not as it must be"),
)


def audit(
    period: Annotated[
        str | None,
        typer.Option("--period", metavar="YYYY-MM", help="Tasks that ended or were corrected in it"),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="Only this task")] = None,
    workspace: WorkspaceId = None,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Recomputes the ledger from result files and events; exit code 1 if anything is different."""
    around, screen = Surroundings(os.environ, config, url, key), Screen()
    asked = {"period": period, "task_id": task, "workspace_id": workspace}
    try:
        report = _followed(screen, Service(around.service_url, around.any_key).lines("/v1/audit", asked))
    except NotReachable:
        if around.names_a_service:
            raise
        from nightrate.cli.stopped import audit_stopped  # the database's libraries, which no other path needs

        report = _followed(screen, audit_stopped(around.settings, asked))
    if as_json:
        screen.json(report)
    else:
        _show(screen, report)
    if report["totals"]["different"] or report["months"]["different"]:
        raise typer.Exit(FAILED)


def _followed(screen: Screen, lines: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Draws the progress; the report is the last line."""
    last: dict[str, Any] = {}
    with screen.audit_bar() as progressed:
        for last in lines:
            if last.get("object") == "audit.progress":
                progressed(last)
    if last.get("object") != "audit":
        told = last.get("error", {}).get("message", "the answer broke off")
        raise CliFailure(f"the audit did not come to its end: {told}", hint="Try again.")
    return last


def _show(screen: Screen, report: dict[str, Any]) -> None:
    for one in report["differences"]:
        print(f"{one['task_id'] or one['id']}: {one['message']}")
    if report["differences_left_off"]:
        print(f"… and {report['differences_left_off']:,} more")
    verdicts = [
        {"verdict": name, "tasks": report["totals"][name], "meaning": meaning} for name, meaning in _VERDICTS
    ]
    screen.rows([("Verdict", "verdict"), (">Tasks", "tasks"), ("", "meaning")], verdicts, empty="")
    columns = [
        ("Currency", "currency"),
        (">Entries", "charges"),
        (">List", "list_amount"),
        (">Amount", "amount"),
    ]
    screen.rows(columns, report["amounts"], empty="No entry of the ledger was there to check.")
    screen.say(
        f"{report['tasks']:,} tasks, {report['requests']:,} requests, {report['bytes']:,} bytes of files, "
        f"{report['charges']:,} entries, {sum(report['months'].values()):,} closed months; "
        f"{report['difference_count']:,} differences."
    )
