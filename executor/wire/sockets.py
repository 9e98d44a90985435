"""How many connections to upstreams there may be: the process's open files are not theirs alone."""

import logging
import resource

log = logging.getLogger("nightrate.sockets")

_OTHER_FILES = 1000
"""Kept free for the database, results, uploads and our own clients; half of all where there are few."""


class Sockets:
    """What is left for all pools of one engine. Belongs to the dispatch loop."""

    def __init__(self, most: int) -> None:
        self.free = most

    def take(self) -> bool:
        """Takes one, if there is one."""
        if self.free <= 0:
            return False
        self.free -= 1
        return True

    def give(self) -> None:
        """Gives one back."""
        self.free += 1


def allowed_sockets(wanted: int) -> int:
    """Raises the limit of open files as far as it may, and tells how many of them upstreams get.

    A request that finds none left waits for another to end. A warning says so at start.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(soft, min(hard, wanted + _OTHER_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    most = max(files - _OTHER_FILES, files // 2)
    if wanted > most:
        log.warning(
            "models may have %d requests under way, but only %d connections: the rest waits for them. "
            "Raise the limit of open files (%d, ulimit -n) or lower max_concurrency",
            wanted, most, hard,
        )  # fmt: skip
    return most
