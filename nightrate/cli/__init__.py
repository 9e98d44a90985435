"""The command `nightrate`: puts its commands together and turns failures into messages and exit codes."""

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from nightrate.cli import admin, audit, backup, books, demo, files, money, prices, work
from nightrate.cli.failure import CliFailure


def application() -> typer.Typer:
    """The command with all its subcommands."""
    app = typer.Typer(
        name="nightrate",
        help="Batch inference with metering and billing. Exit codes: 0 done, 1 failed, 2 wrong use.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_common)
    app.command()(admin.serve)
    app.command()(files.check)
    app.command("convert")(files.convert_csv)
    app.command()(files.sample)
    app.command()(work.submit)
    app.command()(work.tasks)
    app.command()(work.results)
    app.command()(work.cancel)
    app.command()(work.retry)
    app.command()(money.statistics)
    app.command()(money.export)
    app.command()(books.statement)
    app.command()(books.close)
    app.command()(books.correct)
    app.command()(audit.audit)
    app.command()(backup.backup)
    app.command()(backup.restore)
    _group(app, prices.prices, check=prices.prices_check)
    _group(app, admin.keys, create=admin.keys_create, revoke=admin.keys_revoke)
    _group(app, admin.workspaces, create=admin.workspaces_create, set=admin.workspaces_set)
    app.command()(demo.demo)
    app.command()(admin.settings)
    return app


def _group(app: typer.Typer, plain: Callable[..., None], **commands: Callable[..., None]) -> None:
    """A command that does something by itself and has subcommands."""
    group = typer.Typer(help=plain.__doc__)
    group.callback(invoke_without_command=True)(plain)
    for name, command in commands.items():
        group.command(name)(command)
    app.add_typer(group, name=plain.__name__)


def _common(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version")] = False,
) -> None:
    if show_version:
        print(version("nightrate"))
        raise typer.Exit


def main() -> NoReturn:
    """Runs the command line; a failure is two lines on standard error and an exit code."""
    try:
        application()()
    except CliFailure as failure:
        complain(failure)
        sys.exit(failure.exit_code)
    sys.exit(0)


def complain(failure: CliFailure) -> None:
    """Shows what happened and how to mend it."""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]Error:[/] {escape(failure.message)}", soft_wrap=True)
    if failure.hint:
        console.print(escape(failure.hint), soft_wrap=True)
