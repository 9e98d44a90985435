"""Keeps the lake up to date, in a thread that nothing else waits for: a lake that is down is only behind."""

import logging
import secrets
import threading
import time

from metering.clock import Clock
from metering.failures import StoreClosed, StoreError
from metering.lake.publisher import Publisher
from metering.options import StorageOptions
from metering.series import gauge_text
from metering.store import Store, Transaction

log = logging.getLogger("nightrate.lake")

_LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries of a lake that fails."""
_TIMEOUTS_OF_A_ROUND = 3
"""A round that takes longer than so many of `storage.lake_timeout_seconds` is taken for one that hangs."""
_STOP_SECONDS = 2.0
"""How long the service's end waits for a round; one that is cut off is as if it never was, or done."""


def gauges(*, up: bool, complete_at: float) -> str:
    """Whether the lake takes what is published, and when it last had everything, as Prometheus reads it."""
    about = "1, or 0 while publishing to the lake fails or hangs."
    when = "When the lake last had all that had ended; 0: not since the start."
    return gauge_text("nightrate_lake_up", about, (), {(): int(up)}) + gauge_text(
        "nightrate_lake_complete_timestamp_seconds", when, (), {(): complete_at}
    )


class Publishing:
    """Makes the rounds. `start` and `stop` are called once each."""

    def __init__(self, publisher: Publisher, options: StorageOptions, clock: Clock) -> None:
        self._publisher, self._seconds, self._clock = publisher, options.lake_publish_seconds, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lake", daemon=True)
        self._failures = 0
        self._complete_at = 0.0
        self._longest_seconds = _TIMEOUTS_OF_A_ROUND * options.lake_timeout_seconds
        self._round_began: float | None = None

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; a lake that hangs is left alone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def metrics(self) -> str:
        """The lake's gauges now."""
        began = self._round_began
        hangs = began is not None and time.monotonic() - began > self._longest_seconds
        return gauges(up=not self._failures and not hangs, complete_at=self._complete_at)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._round_began = time.monotonic()
            pause = self._round()
            self._round_began = None
            self._stopping.wait(pause)

    def _round(self) -> float:
        """Publishes once; how long to wait for the next time."""
        began = self._clock().timestamp()
        try:
            done = self._publisher.publish()
        except StoreClosed:
            return self._seconds
        except StoreError as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001  (nothing else would try again)
            return self._failed(error)
        if self._failures:
            log.info("the lake takes what is published again")
        self._failures = 0
        if done.tasks or done.corrections:
            log.info(
                "published to the lake: %d tasks, %d corrections, %d tasks wait",
                done.tasks,
                done.corrections,
                done.waiting,
            )
        if done.waiting:
            return 0
        self._complete_at = began
        return self._seconds

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        log.log(level, "the lake is behind and is tried again: %s: %s", type(error).__name__, error)
        return float(min(self._seconds * 2 ** min(self._failures, 10), _LONGEST_PAUSE_SECONDS))


def node_name(store: Store, options: StorageOptions) -> str:
    """What this node is called in the lake: as the settings say, else a name that its database keeps."""
    if options.lake_node is not None:
        return options.lake_node

    def kept(tx: Transaction) -> str:
        tx.execute("publication.keep_node", name=secrets.token_hex(4))
        return str(tx.query("publication.node")[0]["name"])

    return store.write(kept)
