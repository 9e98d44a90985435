"""A session of the console without a browser, for what is seen in headers and answers alone."""

import requests

from tests.server import Server


def signed_in(server: Server, key: str) -> requests.Session:
    """Signed in with a key; asks as the console's own pages do."""
    session = requests.Session()
    session.headers["Origin"] = server.url
    reply = session.post(f"{server.url}/console/login", {"api_key": key}, timeout=30, allow_redirects=False)
    assert reply.status_code == 303, reply.text
    return session
