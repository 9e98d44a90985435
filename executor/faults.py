"""Named places between two steps of commit, ending and recovery, where a test can stop the process.

`NIGHTRATE_FAULT=commit.synced:3` kills the process with SIGKILL when it reaches that place for the
third time; `NIGHTRATE_FAULT=commit.synced:3:fail` lets the step fail with an `OSError` instead.
Without the variable, reaching a place costs one comparison.
"""

import os
import signal
import threading
from collections.abc import Mapping

POINTS = (
    "validation.ended",
    "commit.begun",
    "commit.appended",
    "commit.synced",
    "commit.stored",
    "ending.claimed",
    "ending.cut",
    "ending.written",
    "ending.synced",
    "ending.rated",
    "ending.stored",
    "recovery.cut",
    "recovery.forgot",
    "recovery.done",
    "publication.compared",
    "publication.added",
    "publication.stored",
)


class FaultPoints:
    """Call it with the name of the place that was reached."""

    def __init__(self, plan: str | None = None) -> None:
        name, _, rest = (plan or "").partition(":")
        count, _, action = rest.partition(":")
        if name and name not in POINTS:
            raise ValueError(f"NIGHTRATE_FAULT names {name!r}, but there are only {', '.join(POINTS)}")
        self._name = name
        self._left = int(count or 1)
        self._action = action or "kill"
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "FaultPoints":
        """The plan that `NIGHTRATE_FAULT` holds, if any."""
        return cls(environment.get("NIGHTRATE_FAULT"))

    def __call__(self, name: str) -> None:
        """Says that this place is reached now."""
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
        if self._action == "fail":
            raise OSError(f"fault point {name}")
        os.kill(os.getpid(), signal.SIGKILL)
