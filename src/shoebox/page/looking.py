"""Routes that only look: examples to try, the reasons for an answer, the run's pictures, its report.

In: a service. Out: a router. Pictures are asked for by their number in the run's own list, never by a name.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi import Path as Part
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from shoebox.base.errors import ShoeboxError
from shoebox.base.tables import plain, speakable
from shoebox.data.picture import Unreadable
from shoebox.page.likeness import Likeness
from shoebox.page.pictures import examples, run_pictures, small, whole
from shoebox.serve.api import unless_gone
from shoebox.serve.problems import Problem
from shoebox.serve.service import Service

THUMBNAIL = 160
EXPLAINED = 3
"""Of how many classes the heat map is made."""
HEAT_SIDE = 48
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For pages that are one file each: they run on their own, with no access to this server."""
KEPT = {"Cache-Control": "private, max-age=600"}

Number = Annotated[int, Part(ge=0)]


def looking(service: Service, likeness: Likeness) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["page"])

    @router.get("/v1/examples", summary="Pictures to try, which the classifier has not learnt from")
    async def offered() -> dict[str, Any]:
        likeness.start()  # somebody has opened the page
        return await run_in_threadpool(_offered, service)

    @router.get("/v1/pictures/{row}", summary="One of the run's pictures, small", response_class=Response)
    def thumbnail(row: Number) -> Response:
        made = _shown(service, row, lambda file: small(file, THUMBNAIL))
        return Response(made, media_type="image/webp", headers=KEPT)

    @router.get("/v1/pictures/{row}/large", summary="The same, its very pixels", response_class=Response)
    def large(row: Number) -> Response:
        return Response(_shown(service, row, whole), media_type="image/png", headers=KEPT)

    @router.post("/v1/explain", summary="Why a picture is answered as it is, and what it is like")
    async def explain(request: Request) -> dict[str, Any]:
        data = await request.body()
        if not data:
            raise Problem(400, "there is no picture in this request: send one as its body")
        return await unless_gone(request, _explained(service, likeness, data))

    @router.api_route("/report", methods=["GET", "HEAD"], summary="The run's report", response_class=Response)
    def report() -> Response:
        return self_contained(report_file(service), "shoebox report RUN makes one")

    return router


def report_file(service: Service) -> Path:
    """Where the report of a service's run lies, if one was made."""
    return service.folder / "report.html"


def self_contained(page: Path, how: str) -> Response:
    """A page that is one file, shut off from this server's.

    Raises:
        Problem: it is not there.
    """
    if not page.is_file():
        raise Problem(404, f"there is no such page yet: {how}")
    return FileResponse(page, media_type="text/html", headers={"Content-Security-Policy": SANDBOX})


def coarse(heat: np.ndarray) -> str:
    """A heat map (S, S) of 0…1 as at most `HEAT_SIDE`² bytes in base 64."""
    from PIL import Image

    image = Image.fromarray((heat * 255).round().astype(np.uint8))
    if image.width > HEAT_SIDE:
        image = image.resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BOX)
    return base64.b64encode(image.tobytes()).decode()


async def _explained(service: Service, likeness: Likeness, data: bytes) -> dict[str, Any]:
    answers = await service.answer([data])
    (answer,) = answers.found
    if isinstance(answer, Unreadable):
        raise Problem(422, f"this cannot be read: {speakable(answer.reason)}")
    heats, note = [], ""
    for number in np.argsort(-answer.probabilities, kind="stable")[:EXPLAINED].tolist():
        try:
            heat = await service.heat(answer.pixels, number)
        except ShoeboxError as e:
            note = speakable(str(e))
            break
        heats.append({"label": speakable(answers.version.classes[number]), "heat": coarse(heat)})
    near, near_note = await likeness.nearest(answer.features)
    return {"heats": heats, "note": note, "near": plain(near), "near_note": near_note}


def _offered(service: Service) -> dict[str, Any]:
    pictures = run_pictures(service.folder) if service.is_run else ()
    rows = examples(pictures)
    found = [{"row": row, "label": pictures[row].label, "name": pictures[row].file.name} for row in rows]
    part = {"test": "test", "val": "validation"}[pictures[rows[0]].part] if rows else ""
    note = f"From its {part} pictures, which it has not learnt from." if rows else ""
    return {"pictures": plain(found), "note": note}


def _shown(service: Service, row: int, make: Callable[[Path], bytes]) -> bytes:
    pictures = run_pictures(service.folder) if service.is_run else ()
    if row >= len(pictures):
        raise Problem(404, "the run has no picture of this number")
    try:
        return make(pictures[row].file)
    except Unreadable as e:
        raise Problem(404, f"this picture cannot be shown: {speakable(e.reason)}") from e
