"""mount: the page joins a server's application.

In: the application, its service and its settings. Out: the routes of this room, and its work ended with the server's.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from shoebox.base.errors import ShoeboxError
from shoebox.base.tables import speakable
from shoebox.page.deciding import deciding
from shoebox.page.folders import folders
from shoebox.page.jobs import Jobs
from shoebox.page.likeness import Likeness
from shoebox.page.looking import looking
from shoebox.page.working import working
from shoebox.serve.problems import Problem, response
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings

STATIC = Path(__file__).parent / "static"
LOOK = Path(__file__).parent.parent / "evaluation" / "templates" / "page.css"
"""The report's style, so that the two look alike."""


def mount(app: FastAPI, service: Service, settings: Settings) -> None:
    """Add the page, its pictures, and its work on the folders below `settings.data`."""
    owned = folders(settings.data)
    likeness = Likeness(service)
    kept = tempfile.TemporaryDirectory(prefix="shoebox-jobs-")
    jobs = Jobs(Path(kept.name))
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(scope: FastAPI) -> AsyncIterator[Any]:
        async with inner(scope) as state:
            try:
                yield state
            finally:
                await likeness.close()
                await run_in_threadpool(jobs.close)
                kept.cleanup()

    app.router.lifespan_context = lifespan
    style = base_style()

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/static/base.css", include_in_schema=False)
    def base() -> Response:
        return Response(style, media_type="text/css")

    app.add_exception_handler(ShoeboxError, _failed)
    app.include_router(looking(service, likeness))
    app.include_router(working(service, owned, jobs, Path("runs").resolve()))
    app.include_router(deciding(owned))
    app.mount("/static", StaticFiles(directory=STATIC))


async def _failed(request: Request, error: Exception) -> Response:
    """What went wrong in a folder or a file, in the words of whoever met it."""
    return response(Problem(409, speakable(str(error))), request.state.request_id)


def base_style() -> str:
    """The report's style as a browser reads it."""
    import jinja2

    return jinja2.Environment(autoescape=False).from_string(LOOK.read_text(encoding="utf-8")).render()
