"""Delivers notifications: several at once, each until it is taken or given up, across restarts.

A crash between a delivery and its being kept sends it again under the same `webhook-id`: at least once.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook

from executor.options import WebhookOptions
from executor.webhooks.networks import guarded_socket
from executor.webhooks.outbox import Notification, Outbox, Outcome
from executor.wire.names import look_up
from metering.clock import Clock
from metering.failures import StoreError

T = TypeVar("T")
log = logging.getLogger("nightrate.webhooks")

_LONGEST_SLEEP_SECONDS = 30.0
"""A clock may be set while we sleep."""


class Deliveries:
    """A thread with an event loop of its own, so that a slow receiver holds up nobody else."""

    def __init__(self, outbox: Outbox, options: WebhookOptions, tls: ssl.SSLContext, clock: Clock) -> None:
        self._outbox = outbox
        self._options = options
        self._tls = tls
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._database = ThreadPoolExecutor(1, "webhooks-database")
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    # -- for everyone, from any thread ---------------------------------------------------------------

    def start(self) -> None:
        """Begins with what an earlier process has left."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something new in the outbox."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the next start finds it
            self._loop.call_soon_threadsafe(self._changed.set)

    def stop(self) -> None:
        """Gives up what is under way; it is sent again after the next start."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join()

    # -- the loop's thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._main = self._loop.create_task(self._deliver_all())
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main)
        finally:
            self._database.shutdown()
            self._loop.close()

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    async def _deliver_all(self) -> None:
        async with self._session() as session:
            try:
                while True:
                    self._changed.clear()
                    await self._begin_due(session)
                    await self._until_next()
            finally:
                for task in self._under_way.values():
                    task.cancel()
                await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(),
            ssl=self._tls,
            socket_factory=guarded_socket(self._options.allow_networks),
            force_close=True,
            limit=self._options.deliveries_at_once,
        )
        timeout = aiohttp.ClientTimeout(total=self._options.timeout_seconds)
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def _begin_due(self, session: aiohttp.ClientSession) -> None:
        """Those that are under way stay due until what came of them is kept."""
        rows = self._options.deliveries_at_once
        try:
            due = await self._kept(lambda: self._outbox.due(self._clock(), rows + len(self._under_way)))
        except StoreError as error:
            log.warning("the outbox can't be read now: %s", error)
            return
        for notification in due:
            if notification.id not in self._under_way and len(self._under_way) < rows:
                task = self._loop.create_task(self._deliver(session, notification))
                self._under_way[notification.id] = task
                task.add_done_callback(partial(self._over, notification.id))

    def _over(self, notification_id: str, _: asyncio.Task[None]) -> None:
        del self._under_way[notification_id]
        self._changed.set()

    async def _until_next(self) -> None:
        """Until something is new, over or due."""
        now, seconds = self._clock(), _LONGEST_SLEEP_SECONDS
        with contextlib.suppress(StoreError):
            due_at = await self._kept(lambda: self._outbox.next_due(now))
            if due_at is not None:
                seconds = min(seconds, (due_at - now).total_seconds())
        # Not wait_for: before Python 3.12 it loses a cancellation that comes together with what it waits for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _deliver(self, session: aiohttp.ClientSession, notification: Notification) -> None:
        whose, host = notification.task_id, urlsplit(notification.url).hostname
        try:
            outcome = await self._attempt(session, notification)
        except Exception:  # a fault of ours: it must not be tried again at once, for ever
            log.exception("the end of %s could not be told to %s", whose, host)
            outcome = Outcome(None, "a fault of the service; its log says more")
        try:
            over = await self._kept(lambda: self._outbox.keep(notification, outcome, self._clock()))
        except StoreError as error:
            log.warning("what came of telling %s the end of %s can't be kept: %s", host, whose, error)
            await asyncio.sleep(self._options.first_retry_seconds)  # it is due still, and sent again
        else:
            _say(whose, host, outcome.error, over=over)

    async def _attempt(self, session: aiohttp.ClientSession, notification: Notification) -> Outcome:
        """Sends it once. Redirects are not followed: where they lead was not what the user gave."""
        body = notification.body()
        headers = {
            "content-type": "application/json",
            "user-agent": "nightrate",
            **self._signed(notification, body),
        }
        try:
            async with session.post(
                notification.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except TimeoutError:
            return Outcome(None, f"no answer within {self._options.timeout_seconds:g} s")
        except aiohttp.InvalidURL:
            return Outcome(None, "the URL can't be used")  # it may hold a secret
        except aiohttp.ClientConnectorError as error:
            return Outcome(None, f"no connection: {error.os_error.strerror or error.os_error}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(None, str(error) or type(error).__name__)
        return Outcome(status, None if 200 <= status < 300 else f"it answered {status}")

    def _signed(self, notification: Notification, body: bytes) -> dict[str, str]:
        """The headers of Standard Webhooks; without a secret there is no signature."""
        now = self._clock()
        headers = {"webhook-id": notification.id, "webhook-timestamp": str(int(now.timestamp()))}
        if notification.secret is not None:
            signature = Webhook(notification.secret).sign(notification.id, now.astimezone(UTC), body.decode())
            headers["webhook-signature"] = signature
        return headers

    async def _kept(self, job: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._database, job)


class _Resolver(AbstractResolver):
    """Look-ups that hold up neither each other nor the end of the service."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host; `OSError` if there are none."""
        found = await look_up(host, port)
        if isinstance(found, OSError):
            raise found
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Holds nothing."""


def _say(task_id: str, host: str | None, error: str | None, *, over: bool) -> None:
    """In the log; of the URL only the host, since the rest may be a secret."""
    if error is None:
        log.info("%s was told that %s has ended", host, task_id)
    else:
        then = "given up" if over else "it is tried again later"
        log.warning("%s could not be told that %s has ended: %s; %s", host, task_id, error, then)
