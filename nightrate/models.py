"""The models of the settings, the local one among them."""

from executor.options import ModelOptions
from nightrate.local_model import local_model_options
from nightrate.settings import Settings


def configured_models(settings: Settings) -> tuple[ModelOptions, ...]:
    """Every model that the settings name, the local one first if it is enabled."""
    local = settings.local_model
    return (*((local_model_options(local, local.port),) if local.enabled else ()), *settings.models)
