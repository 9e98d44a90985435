"""What is printed when the service has started: the console's link and lines that can be copied."""

from nightrate.services import Services

_SNIPPET = """\
from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="{key}")
file = client.files.create(file=open("requests.jsonl", "rb"), purpose="batch")
batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
print(batch.id, batch.status)
"""


def welcome(services: Services, url: str, login_token: str) -> str:
    """The text, with a login link that works once."""
    key = services.default_secret
    shown = key if services.keys.verify(key) else "sk-nr-…"
    lines = [
        "",
        f"Nightrate runs at {url}",
        f"  Console   {url}/console/login?token={login_token}",
        f"            (logs in once, within {services.settings.server.login_link_seconds // 60} minutes)",
        f"  Models    {', '.join(services.catalog.allowed(None))}",
    ]
    if services.admin.made:
        lines.append(f"  Admin key {services.admin.secret}")
        lines.append(f"            (shown once; kept in {services.settings.storage.data_dir / 'admin.key'})")
    return "\n".join([*lines, "", _SNIPPET.format(url=url, key=shown)])
