import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.server import Server, request

PRICE = """
[[prices]]
model = "smollm2-135m"
currency = "USD"
valid_from = 2020-01-01T00:00:00Z
source = "a test"
tiers = [{ input = "0.05", output = "0.2" }]
"""
PROMPTS = ("Say hello.", "Name a colour.", "Count to three.", "What is rain?", "Name a fruit.")


def test_a_real_model_is_asked_and_billed_at_half(tmp_path: Path) -> None:
    """SmolLM2 answers a task through the whole way, and its bill is half of what its own counts come to."""
    server = Server(tmp_path, "http://127.0.0.1:9/v1", local=True)
    with (tmp_path / "prices.toml").open("a") as prices:
        prices.write(PRICE)
    with server:
        if "smollm2-135m" not in [model.id for model in server.client().models.list()]:
            pytest.skip("the weights of SmolLM2 can't be had here")
        lines = [
            request(n, prompt, model="smollm2-135m", max_tokens=12) for n, prompt in enumerate(PROMPTS, 1)
        ]
        batch = server.wait(server.submit_lines(lines))
        assert (batch["status"], batch["request_counts"]["completed"]) == ("completed", len(PROMPTS))
        results = server.client().files.content(batch["output_file_id"]).text.splitlines()
        bodies = [json.loads(line)["response"]["body"] for line in results]
        assert all(body["choices"][0]["message"]["content"].strip() for body in bodies)
        given = sum(body["usage"]["prompt_tokens"] for body in bodies)
        made = sum(body["usage"]["completion_tokens"] for body in bodies)
        listed = (given * Decimal("0.05") + made * Decimal("0.2")) * Decimal("0.000001")
        assert Decimal(batch["nightrate"]["list_amount"]) == listed
        assert Decimal(batch["nightrate"]["amount"]) == listed * Decimal("0.5")
        (row,) = server.get("/v1/statistics?model=smollm2-135m")["data"]
        assert (row["calls"], row["input_tokens"], row["output_tokens"]) == (len(PROMPTS), given, made)
