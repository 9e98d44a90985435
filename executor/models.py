"""The models of the settings by name, the built-in test model among them."""

from collections.abc import Collection, Sequence

from executor.options import TEST_ENDPOINT, TEST_MODEL, ModelOptions


class ModelCatalog:
    """Which models there are, and which of them a caller may use."""

    def __init__(self, options: Sequence[ModelOptions]) -> None:
        self._models: dict[str, ModelOptions] = {}
        for model in (*options, _test_model()):
            if model.name in self._models:
                raise ValueError(f"the model {model.name!r} is configured twice; each name may be used once")
            self._models[model.name] = model

    def get(self, name: str) -> ModelOptions | None:
        """The model of that name, or none."""
        return self._models.get(name)

    def allowed(self, access_models: Collection[str] | None) -> list[str]:
        """The names that a caller may use, in the order of the settings; None means all.

        The test model is free and asks nobody, so that every workspace may use it.
        """
        return [name for name in self._models if may_use(name, access_models)]


def may_use(name: str, access_models: Collection[str] | None) -> bool:
    """Whether a workspace that may use `access_models` (None: all) may use this model."""
    return access_models is None or name in access_models or name == TEST_MODEL


def _test_model() -> ModelOptions:
    # It has no upstream, which no model of the settings may say of itself; hence not checked.
    return ModelOptions.model_construct(
        name=TEST_MODEL, upstreams=(), endpoints=(TEST_ENDPOINT,), free=True, upstream_model=None
    )
