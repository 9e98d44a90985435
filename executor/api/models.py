"""`GET /v1/models…`: the models that a key may use."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from executor.api.calls import Caller, WorkspaceId
from executor.batches import Batches
from executor.models import ModelCatalog
from metering.errors import NotFound


def router(batches: Batches, catalog: ModelCatalog) -> APIRouter:
    """The routes of models."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models", summary="The models that this key may use")
    def list_models(access: Caller, workspace_id: WorkspaceId = None) -> dict[str, Any]:
        names = batches.usable_models(access, workspace_id)
        return {"object": "list", "data": [_model_object(catalog, name) for name in names]}

    @routes.get("/v1/models/{model:path}", summary="One model; its name may contain a slash")
    def get_model(
        access: Caller,
        model: Annotated[str, Path(max_length=256, examples=["batch-test-model"])],
        workspace_id: WorkspaceId = None,
    ) -> dict[str, Any]:
        if model not in batches.usable_models(access, workspace_id):
            raise NotFound("model", model, param="model")
        return _model_object(catalog, model)

    return routes


def _model_object(catalog: ModelCatalog, name: str) -> dict[str, Any]:
    options = catalog.get(name)
    assert options is not None
    return {
        "id": name,
        "object": "model",
        "created": 0,  # when a model was made is not known here, and the SDK wants a number
        "owned_by": "nightrate",
        "nightrate": {"endpoints": list(options.endpoints), "free": options.free},
    }
