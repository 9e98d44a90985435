"""Requests that go on when a test says so, not after a time that a busy machine may exceed."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.behaviour import Behaviour
from tests.upstream import Upstream


@contextmanager
def held(upstream: Upstream, part: str) -> Iterator[None]:
    """Those with this in their prompt are pushed back until the test goes on, and use up no attempt."""
    upstream.rule = lambda seen: Behaviour(status=429, retry_after="1") if part in seen.prompt else None
    try:
        yield
    finally:
        upstream.rule = None
