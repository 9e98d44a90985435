"""One request to an upstream, without an engine around it."""

import asyncio
import json
from typing import Any

from executor.upstream import Answer, HttpUpstream, NoAnswer
from executor.wire.origin import tls_context
from executor.wire.sockets import Sockets


def http_upstream(url: str, api_key: str | None = None, **options: Any) -> HttpUpstream:
    """What speaks to the models at a URL; belongs to the loop that runs."""
    usual = {"response_bytes": 10**6, "timeout_seconds": 5, "connect_timeout_seconds": 5}
    tls, sockets = options.pop("tls", None) or tls_context(), options.pop("sockets", None) or Sockets(1000)
    return HttpUpstream(url, api_key, tls=tls, sockets=sockets, **(usual | options))


async def answer_of(
    upstream: HttpUpstream, body: dict[str, Any], endpoint: str = "/v1/chat/completions"
) -> Answer | NoAnswer:
    """What comes of one request."""
    told: asyncio.Future[Answer | NoAnswer] = asyncio.get_running_loop().create_future()
    upstream.ask(endpoint, json.dumps(body).encode(), told.set_result)
    return await told
