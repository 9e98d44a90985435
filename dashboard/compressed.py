"""Answers of the console in gzip: pages' JSON at each request, scripts once, since they are large and don't change."""

import gzip
import threading
from collections import OrderedDict

from flask import Flask, Response, request

SMALL = 1000
"""Bytes below which it isn't worth it."""
FAST, THOROUGH = 1, 9
KEPT = 64
KINDS = ("text/", "application/javascript", "application/json", "image/svg+xml")
SCRIPTS = ("/_dash-component-suites/", "/assets/")


class Compression:
    """Compresses what a browser takes compressed. Scripts and styles are remembered by path and version."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def after(self, response: Response) -> Response:
        """The answer, smaller if that may be; downloads are streamed as they are."""
        if response.get_etag()[0] is not None:
            # The weak mark that was given for the packed one is as good.
            response.make_conditional(request.environ)
        if not _may(response):
            return response
        response.direct_passthrough = False
        data = response.get_data()
        if len(data) < SMALL:
            return response
        response.set_data(
            self._script(data) if request.path.startswith(SCRIPTS) else gzip.compress(data, FAST)
        )
        response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
        if (etag := response.get_etag()[0]) is not None:
            response.set_etag(etag, weak=True)  # the same meaning, other bytes
        return response

    def _script(self, data: bytes) -> bytes:
        name = (request.path, hash(data))
        with self._lock:
            if (made := self._kept.get(name)) is not None:
                return made
        made = gzip.compress(data, THOROUGH)
        with self._lock:
            self._kept[name] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made


def _may(response: Response) -> bool:
    return (
        response.status_code == 200
        and "gzip" in request.headers.get("Accept-Encoding", "")
        and "Content-Encoding" not in response.headers
        and not response.headers.get("Content-Disposition", "").startswith("attachment")
        and (response.mimetype or "").startswith(KINDS)
    )


def compressed(server: Flask) -> None:
    """Puts the compression on the console's server."""
    compression = Compression()
    server.after_request(compression.after)
