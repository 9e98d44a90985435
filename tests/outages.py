"""What an upstream does to everybody at once, its `/models` included."""

from tests.behaviour import Behaviour
from tests.upstream import Upstream

FAULTS = ("refuses", "hangs", "answers 500", "cuts off", "refuses the key")


def begin(upstream: Upstream, fault: str) -> None:
    """Breaks it. What was accepted before is still answered, unless it refuses connections: then all are lost."""
    if fault == "refuses":
        upstream.stop()
        return
    upstream.models_status = {"answers 500": 500, "refuses the key": 401}.get(fault, 200)
    upstream.models_kind = {"hangs": "hang", "cuts off": "cut"}.get(fault, "ok")
    how = Behaviour(kind=upstream.models_kind, status=upstream.models_status)
    upstream.rule = lambda _: how


def end(upstream: Upstream) -> None:
    """Mends it."""
    upstream.models_status, upstream.models_kind, upstream.rule = 200, "ok", None
    if not upstream.running:
        upstream.start()
