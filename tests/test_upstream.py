"""The scripted upstream does what its script says, since every other test believes it."""

import openai
import pytest
import requests

from tests.behaviour import Behaviour, expected_usage
from tests.upstream import Upstream


def ask(upstream: Upstream, prompt: str, timeout: float = 5) -> requests.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    return requests.post(f"{upstream.url}/chat/completions", json=body, timeout=timeout)


def test_good_answers_carry_usage_and_are_counted() -> None:
    """An unscripted prompt is echoed with usage, and each ask is counted by its prompt."""
    with Upstream() as upstream:
        answers = [ask(upstream, "say it twice").json() for _ in range(2)]
        assert upstream.asked["say it twice"] == 2
        assert answers[0]["usage"]["prompt_tokens"] == expected_usage("say it twice")[0] == 3
        assert answers[0]["id"] == answers[1]["id"]
        assert upstream.in_flight == 0


def test_failing_n_times_then_ok() -> None:
    """`@times` misbehaves for the first asks only."""
    with Upstream() as upstream:
        got = [ask(upstream, "x @status=429 @retry_after=2 @times=2") for _ in range(3)]
        assert [answer.status_code for answer in got] == [429, 429, 200]
        assert got[0].headers["retry-after"] == "2"


@pytest.mark.parametrize("word", ["@reset", "@cut", "@hang", "@quiet"])
def test_broken_connections(word: str) -> None:
    """A reset, a cut-off body and silence are no answers."""
    with Upstream() as upstream, pytest.raises(requests.RequestException):
        ask(upstream, f"x {word}", timeout=0.3)


@pytest.mark.parametrize("word", ["@html", "@broken", "@empty"])
def test_bad_bodies_of_good_status(word: str) -> None:
    """A 2xx may carry something that is not JSON."""
    with Upstream() as upstream:
        answer = ask(upstream, f"x {word}")
        assert answer.status_code == 200
        with pytest.raises(ValueError, match=r".*"):
            answer.json()


def test_an_endless_body_goes_on() -> None:
    """The endless body is longer than anyone wants to read, and its server stays alive."""
    with Upstream() as upstream:
        body = {"model": "m", "messages": [{"role": "user", "content": "x @endless"}]}
        with requests.post(f"{upstream.url}/chat/completions", json=body, stream=True, timeout=5) as answer:
            read = 0
            for part in answer.iter_content(65536):
                read += len(part)
                if read > 5_000_000:
                    break
        assert ask(upstream, "still there").status_code == 200


def test_rules_and_health_are_switches() -> None:
    """A rule decides before the prompt; the probe's answer can be switched; stop and start keep the port."""
    with Upstream(rule=lambda seen: Behaviour(status=503) if seen.prompt == "a" else None) as upstream:
        assert ask(upstream, "a").status_code == 503
        assert ask(upstream, "b").status_code == 200
        upstream.models_status = 500
        assert requests.get(f"{upstream.url}/models", timeout=5).status_code == 500
        upstream.stop()
        with pytest.raises(requests.ConnectionError):
            ask(upstream, "b")
        upstream.start()
        assert ask(upstream, "b").status_code == 200


def test_the_openai_sdk_understands_it() -> None:
    """Chat, streamed chat, embeddings and responses are readable by the SDK."""
    with Upstream() as upstream, openai.OpenAI(base_url=upstream.url, api_key="x") as client:
        messages = [{"role": "user", "content": "hi @reasoning=2 @thinking @cached=1"}]
        answer = client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
        assert answer.usage is not None
        assert answer.usage.completion_tokens_details.reasoning_tokens == 2  # type: ignore[union-attr]
        streamed = client.chat.completions.create(
            model="m",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},  # type: ignore[arg-type]
        )
        assert list(streamed)[-1].usage is not None
        assert client.embeddings.create(model="m", input="hi").usage.prompt_tokens == 1
        assert client.responses.create(model="m", input="hi").usage.input_tokens == 1  # type: ignore[union-attr]
