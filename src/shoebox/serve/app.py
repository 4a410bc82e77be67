"""The application: the routes, what else is mounted beside them, and the gate around all.

In: a `Service`, `Settings`, and functions that add routes, as `shoebox.page` does. Out: a FastAPI application that
starts and stops the service with itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException

from shoebox.base.version import VERSION
from shoebox.serve.api import router
from shoebox.serve.gate import Gate
from shoebox.serve.problems import Problem, response
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings
from shoebox.serve.shapes import Refused

Mount = Callable[[FastAPI, Service, Settings], None]
"""Adds routes to an application."""


def create_app(service: Service, settings: Settings, mounts: Sequence[Mount] = ()) -> FastAPI:
    """Make the application.

    Args:
        service: not yet started.
        mounts: called in order, after the routes of the server are there.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="Shoebox",
        version=VERSION,
        description="What is in a picture, from a classifier that says how sure it is.",
        lifespan=lifespan,
        docs_url=None,  # its scripts would come from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(router(service))
    for mount in mounts:
        mount(app, service, settings)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Gate, settings=settings, telemetry=service.telemetry)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        schema.setdefault("components", {}).setdefault("schemas", {})["Refused"] = Refused.model_json_schema()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    problem = (
        error if isinstance(error, HTTPException) else Problem(error.status_code, error.detail, None, _plain(error))
    )
    return response(problem, request.state.request_id)


def _plain(error: AnyHTTPException) -> dict[str, str] | None:
    return None if error.headers is None else dict(error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return response(Problem(422, f"{where}: {first['msg']}"), request.state.request_id)
