"""The demo's own folder: its settings, its price book, and a note of what it is filled with."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from nightrate.demo.models import MODELS, DemoModel
from nightrate.demo.plan import WINDOW_DAYS

NOTICE = "This is a demo: all workspaces, tasks, figures and amounts on these pages are made up."
FRESH_FOR = timedelta(days=7)
"""An older demo is made anew, since what is told of its first days would leave the 15 days that are shown."""
_VERSION = 1
_NOTE = "demo.json"


class NotADemo(Exception):
    """The folder holds something else, which is left alone."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a demo's folder is filled with."""

    start: datetime
    """Where its first filling began."""
    until: datetime | None
    """Up to where it is filled; none while the first filling is not through."""
    version: int = _VERSION


class DemoFolder:
    """A folder that holds a demo, or will."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_file = path / "nightrate.toml"
        self.data = path / "data"

    def note(self) -> Note | None:
        """What it is filled with; none of an empty one. Raises `NotADemo` for any other folder."""
        try:
            found = json.loads((self.path / _NOTE).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            if (self.path.is_dir() and any(self.path.iterdir())) or self.path.is_file():
                raise NotADemo(f"{self.path} is no demo's folder and not empty; name another one") from None
            return None
        until = found["until"]
        return Note(
            datetime.fromisoformat(found["start"]),
            until and datetime.fromisoformat(until),
            int(found["version"]),
        )

    def keep(self, note: Note) -> None:
        """Writes the note."""
        values = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(note).items()
        }
        (self.path / _NOTE).write_text(json.dumps(values, indent=2) + "\n", "utf-8")

    def empty(self) -> None:
        """Takes a demo's data away."""
        if self.note() is not None:
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def write_settings(self, host: str, port: int, url: Callable[[str], str]) -> None:
        """Writes the settings: where it listens now, and where its models do."""
        text = _SETTINGS.format(host=host, port=port, notice=NOTICE)
        text += "".join(_model(model, url(model.name)) for model in MODELS)
        self.settings_file.write_text(text, "utf-8")

    def write_prices(self, start: datetime, change: datetime) -> None:
        """Writes the price book; a demo that is brought up to now keeps the one that it was charged with."""
        text = "# Made-up prices in USD per million tokens.\n"
        for model in MODELS:
            if model.input_price is not None:
                text += _price(model, start, model.input_price, model.output_price)
                if model.cheaper is not None:
                    text += _price(model, change, *model.cheaper)
        (self.path / "prices.toml").write_text(text, "utf-8")


def may_go_on(note: Note | None, now: datetime) -> bool:
    """Whether a filled folder is brought up to now; else it is made anew."""
    if note is None or note.until is None or note.version != _VERSION:
        return False
    return note.until <= now and now - note.start < timedelta(days=WINDOW_DAYS) + FRESH_FOR


def without_overrides(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of the real installation: the demo must never write into its data."""
    return {name: value for name, value in env.items() if not name.startswith("NIGHTRATE_")}


_SETTINGS = """\
# A demo that `nightrate demo` made. It is written again at each start.

[server]
host = "{host}"
port = {port}
notice = "{notice}"

[storage]
data_dir = "data"
database_threads = 1 # its questions are small

[billing]
timezone = "UTC"
currency = "USD"
prices = "prices.toml"
issuer_name = "A demo: made up, nothing is owed"

[executor]
max_attempts = 3
backoff_first_seconds = 0.1
probe_interval_seconds = 0.1
commit_interval_ms = 150
cancel_grace_seconds = 2
shutdown_grace_seconds = 1 # what is answered slowly is asked again
"""


def _model(model: DemoModel, url: str) -> str:
    return f"""
[[models]]
name = "{model.name}"
upstreams = ["{url}"]
endpoints = ["{model.endpoint}"]
max_concurrency = {model.at_once}
timeout_seconds = 60
stream = {str(model.streams).lower()}
free = {str(model.input_price is None).lower()}
"""


def _price(model: DemoModel, since: datetime, given: str, made: str) -> str:
    return f"""
[[prices]]
model = "{model.name}"
currency = "USD"
valid_from = {since:%Y-%m-%dT%H:%M:%SZ}
source = "made up for the demo"
tiers = [{", ".join(_tiers(model, given, made))}]
"""


def _tiers(model: DemoModel, given: str, made: str) -> list[str]:
    thinking = f', output_thinking = "{model.thinking_price}"' if model.thinking_price else ""
    plain = f'{{ input = "{given}", output = "{made}"{thinking} }}'
    if model.dearer_above is None:
        return [plain]
    first = plain.replace("{ ", f"{{ up_to_input_tokens = {model.dearer_above}, ", 1)
    doubled = f'{{ input = "{_double(given)}", output = "{_double(made)}"'
    return [first, doubled + (f', output_thinking = "{_double(model.thinking_price or made)}" }}')]


def _double(price: str) -> str:
    return str(Decimal(price) * 2)
