"""The six models of the demo: how they answer, and what they cost before and after the price change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoModel:
    """One model. What it takes is really waited for."""

    name: str
    first_token_ms: float
    token_ms: float
    """For each token of the answer."""
    input_tokens: int
    """Of a usual request."""
    input_price: str | None
    """List price per million tokens in USD; None for a free model."""
    output_price: str = "0"
    thinking_price: str | None = None
    cheaper: tuple[str, str] | None = None
    """Input and output price after the change in the window."""
    dearer_above: int | None = None
    """A request of more input tokens costs double."""
    streams: bool = False
    reasons: bool = False
    endpoint: str = "/v1/chat/completions"
    at_once: int = 160


MODELS = (
    DemoModel("qwen-plus", 70, 2.6, 6_800, "0.4", "1.2", cheaper=("0.32", "0.96"), streams=True),
    DemoModel("qwen-flash", 35, 1.1, 3_200, "0.05", "0.4", streams=True),
    DemoModel(
        "qwen3-max",
        first_token_ms=120,
        token_ms=2.6,
        input_tokens=26_000,
        input_price="1.2",
        output_price="6",
        thinking_price="7.5",
        dearer_above=32_000,
        streams=True,
        reasons=True,
        at_once=120,
    ),
    DemoModel("deepseek-v3", 90, 2.8, 9_500, "0.27", "1.1", at_once=96),
    DemoModel("text-embedding-v4", 22, 0, 1_900, "0.07", endpoint="/v1/embeddings"),
    DemoModel("house-llama-8b", 40, 1.4, 2_100, None, at_once=96),
)
BY_NAME = {model.name: model for model in MODELS}
