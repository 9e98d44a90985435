"""Commands on files of one's own, without the service: check, convert, sample."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from executor.convert import Conversion, Header, RowError, convert
from executor.models import ModelCatalog
from executor.options import TEST_ENDPOINT, TEST_MODEL, LimitOptions, ModelOptions
from executor.validation import Report, validate
from nightrate.cli.failure import FAILED, CliFailure, wrong_use
from nightrate.cli.service import NotReachable, Service
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import AsJson, Config, Key, Surroundings, Url
from nightrate.models import configured_models

InputFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", help="The task's endpoint [the url of the file's first line]")
]
SHOWN_ERRORS = 50


def check(file: InputFile, endpoint: Endpoint = None, as_json: AsJson = False, config: Config = None) -> None:
    """Says of a JSONL file what is wrong with it, line by line, before it is uploaded."""
    settings = Surroundings(os.environ, config).settings
    catalog = ModelCatalog(configured_models(settings))
    screen, size = Screen(), file.stat().st_size
    with screen.bytes_bar("Checking", size) as progressed:
        report = validate(
            file,
            endpoint or endpoint_of(file),
            catalog,
            None,
            settings.limits,
            on_progress=lambda done, _: progressed(done),
        )
        progressed(size)
    if as_json:
        screen.json(_report_json(report))
    else:
        _show_report(screen, file, report)
    if report.errors:
        raise typer.Exit(FAILED)


def endpoint_of(file: Path) -> str:
    """The url of the first line that has one; chat completions if there is none."""
    with file.open("rb") as lines:
        for _ in range(10):
            try:
                line = json.loads(lines.readline(LimitOptions().line_bytes).removeprefix(b"\xef\xbb\xbf"))
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("url"), str):
                return str(line["url"])
    return "/v1/chat/completions"


def _report_json(report: Report) -> dict[str, object]:
    errors = [{"code": e.code, "message": e.message, "param": e.param, "line": e.line} for e in report.errors]
    return {"total": report.total, "model": report.model, "error_count": report.error_count, "errors": errors}


def _show_report(screen: Screen, file: Path, report: Report) -> None:
    if not report.errors:
        return screen.say(f"{file}: {report.total:,} requests for {report.model}, nothing wrong.")
    rows = [{"line": e.line, "code": e.code, "param": e.param, "message": e.message} for e in report.errors]
    columns = [(">Line", "line"), ("Code", "code"), ("Field", "param"), ("What is wrong", "message")]
    screen.rows(columns, rows[:SHOWN_ERRORS], empty="")
    more = f", the first {SHOWN_ERRORS} are shown (--json for more)" if len(rows) > SHOWN_ERRORS else ""
    return screen.say(f"{file}: {report.error_count:,} errors{more}.")


def convert_csv(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="CSV")],
    model: Annotated[str, typer.Option("--model", help="The model that every row asks")],
    system: Annotated[str | None, typer.Option("--system", help="A system message for every row")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write, - for standard output [CSV with .jsonl]"),
    ] = None,
    header: Annotated[
        Header, typer.Option("--header", help="Whether the first row names the columns")
    ] = "auto",
    delimiter: Annotated[str, typer.Option("--delimiter", help="What parts the columns")] = ",",
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file")] = False,
    config: Config = None,
) -> None:
    """Makes a batch's JSONL from a table: column 1 is the custom_id, column 2 what the user says."""
    if len(delimiter) != 1:
        raise wrong_use(
            f"--delimiter {delimiter!r} is not one character", "For a tab write --delimiter $'\\t'."
        )
    target = out or file.with_suffix(".jsonl")
    limits = _limits(config)
    with _written(target, force) as text:
        how = Conversion(model, system, header, delimiter)
        count, errors = convert(file, text, how, line_bytes=limits.line_bytes)
        if errors:
            _show_row_errors(file, errors)
    Screen().say(f"{target}: {count:,} requests for {model}.")


def _limits(config: Path | None) -> LimitOptions:
    """The settings' limits; the defaults where there are no settings, as on an author's own machine."""
    around = Surroundings(os.environ, config)
    try:
        return around.settings.limits
    except CliFailure:
        if config is not None:
            raise
        return LimitOptions()


def _show_row_errors(file: Path, errors: list[RowError]) -> None:
    screen = Screen()
    rows = [{"row": e.row, "line": e.line, "message": e.message} for e in errors]
    columns = [(">Row", "row"), (">Line", "line"), ("What is wrong", "message")]
    screen.rows(columns, rows[:SHOWN_ERRORS], empty="")
    raise CliFailure(f"{file}: {len(errors):,} rows can't be converted; nothing was written")


@contextmanager
def _written(target: Path, force: bool) -> Iterator[TextIO]:
    """A file that appears as a whole or not at all."""
    if str(target) == "-":
        with tempfile.TemporaryFile("w+", encoding="utf-8") as text:
            yield text
            text.seek(0)
            shutil.copyfileobj(text, sys.stdout)
        return
    if target.exists() and not force:
        raise wrong_use(
            f"{target} is there already", "Give --force to write over it, or --out with another name."
        )
    part = target.with_name(target.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as text:
            yield text
        part.replace(target)
    except OSError as error:
        raise CliFailure(f"{target} can't be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def sample(
    model: Annotated[
        str | None, typer.Option("--model", help="Ask this model [the first this key may use]")
    ] = None,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Prints an input file of two lines that ask a model this key may use."""
    name, endpoint = _sample_model(Surroundings(os.environ, config, url, key), model)
    questions = ("What is batch inference good for?", "Name three things that can wait until the night.")
    for number, question in enumerate(questions, start=1):
        line = {
            "custom_id": f"request-{number}",
            "method": "POST",
            "url": endpoint,
            "body": {"model": name, **_asking(endpoint, question)},
        }
        print(json.dumps(line, ensure_ascii=False))


def _asking(endpoint: str, question: str) -> dict[str, object]:
    if endpoint in ("/v1/embeddings", "/v1/responses"):
        return {"input": question}
    if endpoint == "/v1/completions":
        return {"prompt": question}
    return {"messages": [{"role": "user", "content": question}]}


def _sample_model(around: Surroundings, asked: str | None) -> tuple[str, str]:
    """A model's name and an endpoint of it: of the running service, else of the settings."""
    try:
        listed = Service(around.service_url, around.api_key).get("/v1/models")["data"]
        names = [str(entry["id"]) for entry in listed]
    except NotReachable:
        if around.names_a_service:
            raise
        names = ModelCatalog(configured_models(around.settings)).allowed(None)
    if asked is not None and asked not in names:
        raise wrong_use(f"this key may not use a model {asked!r}", f"It may use: {', '.join(names)}.")
    name = asked or next((name for name in names if name != TEST_MODEL), TEST_MODEL)
    return name, _endpoint_for(around, name)


def _endpoint_for(around: Surroundings, name: str) -> str:
    if name == TEST_MODEL:
        return TEST_ENDPOINT
    try:
        known = {model.name: model for model in configured_models(around.settings)}
    except CliFailure:
        known = dict[str, ModelOptions]()
    return known[name].endpoints[0] if name in known else "/v1/chat/completions"
