"""The gateway as an application of ASGI: which path leads where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from server.client import AsyncClient
from server.http.admission import Admission
from server.http.door import Door
from server.http.errors import ApiError
from server.http.metrics import GatewayMetrics
from server.http.models import Models
from server.http.options import GatewayOptions
from server.http.socket import Sockets
from server.http.transcriptions import Transcriptions
from server.transport.authentication import Tokens

__all__ = ["PAGE", "make_application"]

PAGE = Path(__file__).with_name("page")  # plain files, served as they are

# Nothing but these files and this gateway, no script in the page itself, no other page around it.
POLICY = {
    **dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'"),
    **dict.fromkeys(("script-src", "style-src", "connect-src"), "'self'"),
    "img-src": "'self' data:",
}
PAGE_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # a newer gateway has a newer page
}


def make_application(
    client: AsyncClient,
    admission: Admission,
    options: GatewayOptions,
    keys: Tokens | None,
    sockets: Sockets,
    metrics: GatewayMetrics,
) -> Starlette:
    """Everything that a gateway answers, asking the server of ``client``."""
    models = Models(client)
    routes = [
        Route(
            "/v1/audio/transcriptions",
            Transcriptions(client, admission, options),
            methods=["POST"],
        ),
        Route("/v1/models", models.list),
        Route("/v1/models/{name:path}", models.get),
        Route("/healthz", models.health),
        *(WebSocketRoute(path, sockets) for path in ("/", "/ws", "/v1/stream")),
        Route("/", _page),
        Mount("/page", _PageFiles(directory=PAGE, check_dir=False)),
    ]
    middleware = [Middleware(Door, metrics=metrics, keys=keys, origins=options.origins)]
    if options.origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_headers=["*"],
            allow_methods=["GET", "POST"],
            expose_headers=["x-request-id", "retry-after", "retry-after-ms"],
        )
        middleware.insert(0, cors)  # so that errors have its headers as well
    return Starlette(
        routes=routes, middleware=middleware, exception_handlers={HTTPException: _http_error}
    )


async def _page(request: Request) -> Response:
    page = PAGE / "index.html"
    if not page.is_file():
        raise ApiError(404, "there is no page here (POST /v1/audio/transcriptions)")
    return FileResponse(page, headers=PAGE_HEADERS)


class _PageFiles(StaticFiles):
    """The files beside the page, with its headers."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """Of Starlette."""
        response = super().file_response(*arguments, **options)
        response.headers.update(PAGE_HEADERS)
        return response


async def _http_error(request: Request, error: Exception) -> Response:
    """Of Starlette: no such path, or no such method of it."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:100]
    message = f"{request.method[:20]} {path}: {error.detail}"
    response = ApiError(error.status_code, message).response()
    response.headers.update(error.headers or {})
    return response
