"""``GET /v1/models``, ``GET /v1/models/NAME`` and ``GET /healthz``."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.client import AsyncClient, Model
from server.http.errors import ApiError
from server.timeout import within

__all__ = ["Models"]

OWNER = "peephole-asr"
HEALTH_SECONDS = 5.0


class Models:
    """What there is to be asked, and whether it answers."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self, request: Request) -> Response:
        """All models, the default one first: clients that choose by themselves take the first."""
        models = await self._client.list_models(request_id=request.state.request_id)
        ordered = sorted(models, key=lambda model: not model.is_default)
        return JSONResponse({"object": "list", "data": [_values(model) for model in ordered]})

    async def get(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        model = await self._client.get_model(name, request_id=request.state.request_id)
        return JSONResponse(_values(model))

    async def health(self, request: Request) -> Response:
        """Whether the gateway and its server can transcribe."""
        asking = self._client.list_models(request_id=request.state.request_id)
        try:
            models = await within(HEALTH_SECONDS, asking)
        except asyncio.TimeoutError:
            raise ApiError(503, "the recogniser does not answer", code="unavailable") from None
        if not models:
            raise ApiError(503, "the recogniser has no model", code="unavailable")
        return JSONResponse({"status": "ok"})


def _values(model: Model) -> dict[str, Any]:
    """OpenAI's fields, and what else a client may want to know."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": OWNER,
        "default": model.is_default,
        "sample_rate": model.sample_rate,
        "live": not model.answers_at_end,
        "decoders": list(model.decoders),
        "default_decoder": model.default_decoder,
        "language_model": model.has_language_model,
    }
