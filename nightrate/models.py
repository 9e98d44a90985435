"""The models of the settings, the local one among them."""

from executor.options import ModelOptions
from nightrate.local_model import HOST
from nightrate.settings import LocalModelOptions, Settings


def local_model_options(local: LocalModelOptions, url: str) -> ModelOptions:
    """The local model as one of the catalogue: as many requests at once as it has slots."""
    return ModelOptions(
        name=local.name,
        upstreams=(url,),
        endpoints=("/v1/chat/completions", "/v1/completions"),
        max_concurrency=local.parallel,
        timeout_seconds=local.timeout_seconds,
    )


def configured_models(settings: Settings) -> tuple[ModelOptions, ...]:
    """Every model that the settings name, the local one first if it is enabled."""
    local = settings.local_model
    if not local.enabled:
        return settings.models
    return (local_model_options(local, f"http://{HOST}:{local.port}/v1"), *settings.models)
