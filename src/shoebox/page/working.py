"""Routes that work: trainings, checks and reports as jobs, on the folders that the server was started with.

In: the folders and the jobs of a server. Out: a router. A job is the command line's own verb, so that what is made
from the page is what a terminal would have made.
"""

import csv
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Path as Part
from pydantic import BaseModel, ConfigDict, Field

from shoebox.base.errors import UsageError
from shoebox.base.recipe import SHIPPED, Recipe
from shoebox.base.tables import plain, speakable
from shoebox.page.folders import Folder
from shoebox.page.jobs import Busy, Job, Jobs
from shoebox.page.looking import report_file
from shoebox.serve.problems import Problem
from shoebox.serve.service import Service

NAME = re.compile(r"\w[\w .()+-]{0,79}")
"""What a run may be called: a plain folder name."""
COMMAND = re.compile(r"\s*shoebox (train|ladder|demo)\b.*$", re.DOTALL)
"""With which what a recipe is about ends."""
WEEK = 7 * 24 * 60

Number = Annotated[int, Part(ge=0)]


class Wanted(BaseModel):
    """A job to start.

    Attributes:
        kind: "train" or "check" a folder; "report" on the run that is served.
        folder: the folder's number.
        recipe: of a training, one of the shipped; None for what suits the pictures and this machine.
        minutes, epochs: how long it trains; one of them, or neither for what the recipe says.
        name: of the run's folder; one that is free if None.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["train", "check", "report"]
    folder: int = Field(0, ge=0)
    recipe: str | None = None
    minutes: float | None = Field(None, gt=0, le=WEEK)
    epochs: int | None = Field(None, ge=1, le=100_000)
    name: str | None = Field(None, max_length=80)


def working(service: Service, owned: tuple[Folder, ...], jobs: Jobs, runs: Path) -> APIRouter:
    """The routes; `runs` is the folder that new runs are made in."""
    router = APIRouter(tags=["page"])

    @router.get("/v1/workshop", summary="The folders and recipes to work with, and the jobs so far")
    def workshop() -> dict[str, Any]:
        return {
            "folders": [folder.about() for folder in owned],
            "recipes": recipes(),
            "runs": speakable(str(runs)),
            "report": report_file(service).is_file(),
            "jobs": [told(job) for job in jobs.all()],
        }

    @router.post("/v1/jobs", status_code=201, summary="Start a training, a check or a report")
    def start(wanted: Wanted) -> dict[str, Any]:
        if wanted.kind == "report":
            return _started(jobs, "report", f"Report on {service.current.name}", report_arguments(service), {})
        folder = folder_of(owned, wanted.folder)
        if wanted.kind == "check":
            place = {"folder": folder.number}
            return _started(jobs, "check", f"Check of {folder.name}", check_arguments(folder), place)
        run = _new_run(runs, wanted.name, folder)
        about = {"folder": folder.number, "run": str(run), **wanted.model_dump(include={"minutes", "epochs"})}
        return _started(jobs, "train", f"Training on {folder.name}", train_arguments(wanted, folder, run), about)

    @router.get("/v1/jobs/{number}", summary="How a job stands")
    def look(number: Number) -> dict[str, Any]:
        return told(_known(jobs, number))

    @router.post("/v1/jobs/{number}/stop", status_code=202, summary="Stop a job; a training saves its state first")
    def stop(number: Number) -> dict[str, Any]:
        job = _known(jobs, number)
        jobs.stop(number)
        return told(job)

    @router.post("/v1/jobs/{number}/resume", status_code=201, summary="Go on with a training that was stopped")
    def resume(number: Number) -> dict[str, Any]:
        job = _known(jobs, number)
        if job.kind != "train" or job.state != "stopped":
            raise Problem(409, "only a training that was stopped can go on")
        arguments = [one for one in job.arguments if one != "--resume"]
        return _started(jobs, "train", job.title, ["--resume", *arguments], job.about)

    return router


def folder_of(owned: tuple[Folder, ...], number: int) -> Folder:
    """The folder of a number.

    Raises:
        Problem: the server was started without folders, or with fewer.
    """
    if not owned:
        raise Problem(403, "this server was started without a folder to work on: give it one with --data FOLDER")
    if number >= len(owned):
        raise Problem(404, "this server has no folder of this number")
    return owned[number]


def recipes() -> list[dict[str, str]]:
    """name and about of the shipped recipes that train one classifier."""
    found = []
    for path in sorted(SHIPPED.glob("*.yaml")):
        try:
            found.append({"name": path.stem, "about": COMMAND.sub("", Recipe.load(path.stem).about.strip())})
        except UsageError:  # a ladder of several
            continue
    return found


def train_arguments(wanted: Wanted, folder: Folder, run: Path) -> list[str]:
    """Of `shoebox train`.

    Raises:
        Problem: there is no such recipe, or both minutes and epochs are given.
    """
    if wanted.recipe not in {None, *(recipe["name"] for recipe in recipes())}:
        raise Problem(422, "there is no recipe of this name")
    if wanted.minutes is not None and wanted.epochs is not None:
        raise Problem(422, "a training takes minutes or epochs, not both")
    given = wanted.model_dump(include={"recipe", "minutes", "epochs"}, exclude_none=True)
    return [f"--run={run}", *(f"--{name}={value}" for name, value in given.items()), "--", str(folder.root)]


def check_arguments(folder: Folder) -> list[str]:
    """Of `shoebox check`, which leaves what it finds beside the pictures.

    Raises:
        Problem: nothing can be written there.
    """
    try:
        folder.table.parent.mkdir(exist_ok=True)
    except OSError as e:
        raise Problem(409, f"nothing can be written to {speakable(str(folder.root))}: {e.strerror}") from e
    return ["--labels", f"--csv={folder.table}", f"--html={folder.page}", "--", str(folder.root)]


def report_arguments(service: Service) -> list[str]:
    """Of `shoebox report`.

    Raises:
        Problem: what is served is no run.
    """
    if not service.is_run:
        raise Problem(409, "an exported classifier has no report: serve the run's folder")
    return [f"--out={report_file(service).resolve()}", "--", str(service.folder.resolve())]


def told(job: Job) -> dict[str, Any]:
    """A job as the page gets it: number, kind, title, state, seconds, about, history, log, answer, error."""
    log = job.log()
    said = [line for line in log.splitlines() if line.strip()]
    run = job.about.get("run")
    found: dict[str, Any] = plain(
        {
            "number": job.number,
            "kind": job.kind,
            "title": job.title,
            "state": job.state,
            "seconds": round(job.seconds, 1),
            "about": job.about,
            "history": history(Path(run)) if run else [],
            "log": log,
            "answer": job.answer() if job.kind == "train" and job.state == "done" else None,
            "error": said[-1] if job.state == "failed" and said else "",
        }
    )
    return found


def history(run: Path) -> list[dict[str, float]]:
    """The epochs of a run so far, as `history.csv` has them; what is no finite number is left out."""
    try:
        with (run / "history.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return []
    return [{key: value for key, text in row.items() if math.isfinite(value := _number(text))} for row in rows]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _new_run(runs: Path, name: str | None, folder: Folder) -> Path:
    if name is None:
        from shoebox.training.train import free_folder

        return free_folder(runs, folder.root.name or "run")
    if not NAME.fullmatch(name):
        raise Problem(422, "a run is called by letters, digits, spaces, dots and hyphens; the first a letter or digit")
    if (runs / name).exists():
        raise Problem(409, "there is a run of this name already: choose another")
    return runs / name


def _known(jobs: Jobs, number: int) -> Job:
    job = jobs.get(number)
    if job is None:
        raise Problem(404, "there is no job of this number, or no longer")
    return job


def _started(jobs: Jobs, kind: str, title: str, arguments: list[str], about: dict[str, Any]) -> dict[str, Any]:
    try:
        return told(jobs.start(kind, title, arguments, **about))
    except Busy as e:
        raise Problem(409, speakable(str(e))) from e
