"""What commands do with the settings and the data folder alone, without a running service."""

from executor.options import ModelOptions
from nightrate.settings import Settings


def configured_models(settings: Settings) -> list[ModelOptions]:
    """The models that the service would offer with these settings, the local one among them."""
    local = settings.local_model
    models = list(settings.models)
    if local.enabled:
        models.append(ModelOptions(name=local.name, upstreams=(f"http://127.0.0.1:{local.port}/v1",)))
    return models
