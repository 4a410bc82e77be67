"""The routes: predictions, what the classifier is, and how the server does.

In: HTTP requests that have passed the gate. Out: JSON, as `shoebox.serve.shapes` describes it.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from shoebox.base.errors import ShoeboxError
from shoebox.base.version import VERSION
from shoebox.data.picture import ALLOWED, Unreadable
from shoebox.data.signature import HEAD, sniff
from shoebox.serve import shapes
from shoebox.serve.problems import Problem
from shoebox.serve.service import Answers, Service
from shoebox.serve.uploads import Upload, read_uploads

DIGITS = 6
Found = TypeVar("Found")


class Plain(APIRoute):
    """A route whose function takes the request and makes the response itself, so that FastAPI has nothing to work
    out."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function as it is."""
        return self.endpoint


def router(service: Service) -> APIRouter:
    """All routes of a service."""
    routes = APIRouter()
    settings = service.settings

    async def predict(request: Request) -> Response:
        asked = _asked(request)
        kind = request.headers.get("content-type", "")
        uploads = await read_uploads(kind, request.stream(), settings.pictures)
        if asked.cam and len(uploads) > shapes.MOST_HEATS:
            raise Problem(413, f"cam=true takes at most {shapes.MOST_HEATS} pictures a request")
        answers = await unless_gone(request, service.answer([upload.data for upload in uploads]))
        rows = described(uploads, answers, asked.top, probabilities=asked.probabilities)
        failed = sum(isinstance(one, Unreadable) for one in answers.found)
        service.telemetry.pictures(len(rows) - failed, failed)
        if failed == len(rows):
            raise _unread(uploads, rows)
        if asked.cam:
            await unless_gone(request, _add_heats(service, answers, rows))
        model = {"name": answers.version.name, "version": answers.version.mark}
        return Response(json.dumps({"model": model, "predictions": rows}), media_type="application/json")

    routes.add_api_route(
        "/v1/predict",
        predict,
        methods=["POST"],
        response_class=JSONResponse,
        responses={200: {"model": shapes.Predictions}, **shapes.refusals(408, 413, 415, 422, 503)},
        openapi_extra=shapes.TAKEN,
        summary="Say what is in one picture or many",
        route_class_override=Plain,
    )

    @routes.get(
        "/v1/model", responses=shapes.refusals(503), summary="What the classifier is", response_model=shapes.Model
    )
    async def model() -> dict[str, Any]:
        version = service.current
        promise = None if version.doubt is None else version.doubt.promise
        names = ("threshold", "answered", "mistakes", "pictures")
        return {
            "name": version.name,
            "version": version.mark,
            "architecture": str(version.config.get("architecture")),
            "classes": version.classes,
            "backend": version.backend.name,
            "preprocess": version.preprocess.to_dict(),
            "run": service.is_run,
            "cam": service.is_run,
            "error": settings.error,
            "promise": None if promise is None else {name: getattr(promise, name) for name in names},
            "limits": {"body": settings.body, "pictures": settings.pictures},
            "shoebox": VERSION,
            "card": version.config.get("card", {}),
        }

    @routes.get(
        "/healthz", responses=shapes.refusals(), summary="Whether the process lives", response_model=shapes.Status
    )
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get(
        "/readyz", responses=shapes.refusals(503), summary="Whether requests are answered", response_model=shapes.Status
    )
    async def readyz() -> dict[str, str]:
        if not service.ready:
            raise Problem(503, "not ready yet", headers={"Retry-After": "1"})
        return {"status": "ready"}

    @routes.get("/metrics", responses=shapes.refusals(), summary="For Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.telemetry.text(), media_type="text/plain; version=0.0.4")

    return routes


def _asked(request: Request) -> shapes.Asked:
    """The query, checked. FastAPI would do it parameter by parameter, which costs as much as the rest of a request."""
    try:
        return shapes.Asked.model_validate(dict(request.query_params))
    except ValidationError as e:
        first = e.errors()[0]
        raise Problem(422, f"query {first['loc'][0]}: {first['msg']}") from None


async def unless_gone(request: Request, work: Coroutine[Any, Any, Found]) -> Found:
    """Do something for a client, and cancel it if the client goes away; its body has been read.

    Raises:
        ClientDisconnect: it went away.
    """

    asking = asyncio.current_task()
    assert asking is not None
    left = False

    async def watch() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        asking.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if left:
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()


def described(uploads: Sequence[Upload], answers: Answers, top: int, *, probabilities: bool) -> list[dict[str, Any]]:
    """The answers to a request as plain JSON values, one for each upload."""
    version = answers.version
    rows: list[dict[str, Any]] = []
    for upload, found in zip(uploads, answers.found, strict=True):
        if isinstance(found, Unreadable):
            rows.append({"name": upload.name, "status": found.reason})
            continue
        row = {"name": upload.name, "status": "ok", **_ranked(found.probabilities, version.classes, top)}
        row |= {"set": None, "unsure": None, "unknown": None}
        if found.judged is not None:
            order = np.argsort(-found.probabilities, kind="stable")
            inside = [version.classes[i] for i in order if found.judged.sets[0, i]]
            row |= {"set": inside, "unsure": bool(found.judged.unsure[0]), "unknown": bool(found.judged.unknown[0])}
        if probabilities:
            row["probabilities"] = dict(zip(version.classes, map(_round, found.probabilities.tolist()), strict=True))
        rows.append(row)
    return rows


def _ranked(probabilities: NDArray[np.float32], classes: Sequence[str], top: int) -> dict[str, Any]:
    order = np.argsort(-probabilities, kind="stable")[:top].tolist()
    ranks = [{"label": classes[i], "confidence": _round(float(probabilities[i]))} for i in order]
    return {**ranks[0], "top": ranks}


def _round(value: float) -> float:
    return round(min(1.0, max(0.0, value)), DIGITS)


def _unread(uploads: Sequence[Upload], rows: Sequence[dict[str, Any]]) -> Problem:
    """The refusal of a request of which nothing could be read: no pictures at all, or damaged ones."""
    kinds = {sniff(upload.data[:HEAD]).format in ALLOWED for upload in uploads if upload.data}
    reasons = [{"name": row["name"], "reason": row["status"]} for row in rows]
    return Problem(422 if True in kinds else 415, f"nothing could be read: {rows[0]['status']}", {"pictures": reasons})


async def _add_heats(service: Service, answers: Answers, rows: Sequence[dict[str, Any]]) -> None:
    for found, row in zip(answers.found, rows, strict=True):
        if isinstance(found, Unreadable):
            continue
        best = int(found.probabilities.argmax())
        try:
            heat = await service.heat(found.pixels, best)
        except ShoeboxError as e:
            raise Problem(422, str(e)) from e
        shown = await asyncio.to_thread(_png, found.pixels)
        grey = await asyncio.to_thread(_png, np.rint(255 * heat).astype(np.uint8))
        row["cam"] = {"label": answers.version.classes[best], "picture": shown, "heat": grey}


def _png(pixels: NDArray[np.uint8]) -> str:
    """Pixels (S, S, 3) or (S, S) as a data: URL."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
