"""What a browser can save: the sample, a task's files, exports, and each chart's rows."""

import json
from collections.abc import Callable, Sequence

from flask import Flask, Response, jsonify, request, send_file

from dashboard import modeltable
from dashboard.charts import BY_KEY, chart_of
from dashboard.excerpts import line_beginning, line_of
from dashboard.export import exported
from dashboard.filters import Address, PeriodView
from dashboard.latency import latency_chart
from dashboard.pages import billing
from dashboard.parts import Chart
from dashboard.reading import statistics, trend, usable_models
from dashboard.services import ConsoleServices
from dashboard.session import current_access
from dashboard.sheet import sheet
from dashboard.statement import printed
from dashboard.viewer import current_viewer
from executor.options import TEST_ENDPOINT, TEST_MODEL
from executor.request import line_id
from executor.result_files import first_bytes
from metering.errors import NotFound, Refused

JSONL = "application/jsonl"
QUESTIONS = (
    "Say in one sentence what a batch is.",
    "Name three fruits.",
    "Translate 'good night' into French.",
    "What is 7 times 6?",
    "Write a headline about the moon.",
)


def downloads(server: Flask, services: ConsoleServices) -> None:
    """Puts the routes on the console's server; each checks the caller's access through the services."""
    server.register_error_handler(Refused, refused)
    routes: dict[str, Callable[..., Response]] = {
        "/download/sample.jsonl": lambda: _sample(services),
        "/download/files/<file_id>": lambda file_id: _file(services, file_id),
        "/download/tasks/<task_id>/partial.jsonl": lambda task_id: _partial(services, task_id),
        "/download/tasks/<task_id>/durations.csv": lambda task_id: _durations_csv(services, task_id),
        "/read/tasks/<task_id>/lines/<int:number>": lambda task_id, number: _line(services, task_id, number),
        "/read/tasks/<task_id>/results/<int:number>": lambda task_id, number: _answer(
            services, task_id, number
        ),
        "/download/exports/<kind>": lambda kind: exported(services, current_access(), kind, request.args),
        "/download/observation.csv": lambda: _observation_csv(services),
        "/download/monitor/<key>.csv": lambda key: _monitor_csv(services, key),
        "/download/billing/<key>.csv": lambda key: _billing_csv(services, key),
        "/print/statements": lambda: printed(services, current_access(), request.args),
    }
    for rule, answer in routes.items():
        server.add_url_rule(rule, rule, answer, methods=["GET"])


def refused(error: Refused) -> tuple[Response, int]:
    """A refusal in OpenAI's shape, as the API gives it."""
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return jsonify({"error": body}), error.status


def _attached(text: str | bytes, name: str, kind: str) -> Response:
    answer = Response(text, mimetype=kind)
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def _sample(services: ConsoleServices) -> Response:
    model, endpoint = sample_model(services)
    return _attached(sample(model, endpoint), "nightrate-sample.jsonl", JSONL)


def sample_model(services: ConsoleServices) -> tuple[str, str]:
    """A model that this caller may use and its endpoint: a real one that chats, else the built-in test model."""
    for name in usable_models(services, current_access()):
        options = services.catalog.get(name)
        if name != TEST_MODEL and options is not None and "/v1/chat/completions" in options.endpoints:
            return name, "/v1/chat/completions"
    return TEST_MODEL, TEST_ENDPOINT


def sample(model: str, endpoint: str) -> str:
    """A few lines that any chat model answers."""
    bodies = [
        {"model": model, "messages": [{"role": "user", "content": q}], "max_tokens": 32} for q in QUESTIONS
    ]
    lines = [
        {"custom_id": f"sample-{n}", "method": "POST", "url": endpoint, "body": body}
        for n, body in enumerate(bodies, start=1)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _file(services: ConsoleServices, file_id: str) -> Response:
    file = services.files.get(current_access(), file_id)
    path = services.files.path_of(file)
    return send_file(path, mimetype=JSONL, as_attachment=True, download_name=file.filename, etag=False)


def _partial(services: ConsoleServices, task_id: str) -> Response:
    """The result lines that are certain by now; what is written behind them meanwhile is not sent."""
    path, length = services.batches.results_so_far(current_access(), task_id)
    pieces = first_bytes(path.open("rb"), length) if length else iter(())
    answer = Response(pieces, mimetype=JSONL)
    answer.headers.set("Content-Disposition", "attachment", filename=f"{task_id}_so_far.jsonl")
    answer.headers["Content-Length"] = str(length)
    return answer


def _line(services: ConsoleServices, task_id: str, number: int) -> Response:
    """A line of a task's input file, as text within JSON: it is what somebody wrote, and never a page."""
    access = current_access()
    task = services.batches.get(access, task_id)
    file = services.files.get(access, task.input_file_id)
    text = line_of(services.files.path_of(file), number)
    if text is None:
        raise NotFound("line", str(number))
    return jsonify({"line": number, "file": file.filename, "text": text})


def _answer(services: ConsoleServices, task_id: str, number: int) -> Response:
    """The line of a task's result file, or of its error file, that answers a line of its input file."""
    access = current_access()
    task = services.batches.get(access, task_id)
    wanted = line_id(task.id, number)
    for kind, file_id in (("result file", task.output_file_id), ("error file", task.error_file_id)):
        if file_id is None:
            continue
        file = services.files.get(access, file_id)
        if (found := line_beginning(services.files.path_of(file), f'{{"id":"{wanted}"'.encode())) is not None:
            line, text = found
            return jsonify({"line": line, "where": f"line {line} of the {kind}", "text": text})
    raise NotFound("answer to line", str(number))


def _durations_csv(services: ConsoleServices, task_id: str) -> Response:
    viewer = current_viewer(services)
    task = services.batches.get(viewer.access, task_id)
    return _chart_csv(
        [latency_chart(services.glance.durations(viewer.access, task.id), viewer.theme)], "durations", task.id
    )


def _observation_csv(services: ConsoleServices) -> Response:
    viewer = current_viewer(services)
    view = PeriodView.of(Address("/observation", dict(request.args)), viewer.zone_name)
    return _attached(modeltable.csv_of(statistics(services, viewer, view)["data"]), "models.csv", "text/csv")


def _monitor_csv(services: ConsoleServices, key: str) -> Response:
    viewer = current_viewer(services)
    address = Address("/monitor/", dict(request.args))
    view = PeriodView.of(address, viewer.zone_name, model=address.get("model"))
    if (sketch := BY_KEY.get(key)) is None:
        raise NotFound("chart", key)
    points = trend(services, viewer, view)["data"]
    return _chart_csv([chart_of(sketch, points, view.precision, viewer.theme)], key, address.get("model"))


def _billing_csv(services: ConsoleServices, key: str) -> Response:
    viewer = current_viewer(services)
    shown = billing.view(services, viewer, Address("/billing", dict(request.args)))
    return _chart_csv(billing.cost_charts(services, viewer, shown), key, shown.month)


def _chart_csv(charts: Sequence[Chart], key: str, name: str) -> Response:
    for chart in charts:
        if chart.key == key:
            plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
            return _attached(csv_of(chart), f"{plain}-{key}.csv", "text/csv")
    raise NotFound("chart", key)


def csv_of(chart: Chart) -> str:
    """A chart's rows as CSV."""
    return sheet(chart.columns, chart.rows, texts=1)
