"""Routes of the label loop: a folder's doubtful labels, and what a person decides about each, kept at once.

In: the folders of a server, with what `shoebox check --labels` found in them. Out: a router. A picture is named by the
mark of the check and its number in it, a class by its number: no name comes back from a client.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as Part
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from shoebox.base.tables import speakable
from shoebox.data.index import ImageIndex
from shoebox.data.picture import Unreadable
from shoebox.data.sources import open_source
from shoebox.data.suspects import Suspect, decide, forget, read_suspects
from shoebox.page.folders import Folder
from shoebox.page.looking import KEPT, self_contained
from shoebox.page.pictures import small
from shoebox.page.working import folder_of
from shoebox.serve.problems import Problem

LARGE = 720
LEFT_OUT = -1

Number = Annotated[int, Part(ge=0)]
Mark = Annotated[str, Part(pattern="^[0-9a-f]{1,32}$")]


class Decision(BaseModel):
    """What a picture shows: the number of its class, or -1 to leave the picture out."""

    model_config = ConfigDict(extra="forbid")

    label: int = Field(ge=LEFT_OUT)


@dataclass(frozen=True)
class Doubts:
    """What a check doubts.

    Attributes:
        mark: of this check; another one has another.
        index: the pictures.
        suspects: the likeliest mistake first.
    """

    mark: str
    index: ImageIndex
    suspects: tuple[Suspect, ...]


def deciding(owned: tuple[Folder, ...]) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["page"])
    turn = threading.Lock()  # a decision reads the file and writes it anew

    @router.get("/v1/labels/{folder}", summary="The doubtful labels of a folder, the likeliest mistakes first")
    def doubtful(folder: Number) -> dict[str, Any]:
        place = folder_of(owned, folder)
        doubts = _doubts(place)
        numbers = {name: number for number, name in enumerate(doubts.index.classes)}
        return {
            "mark": doubts.mark,
            "file": speakable(str(place.patch)),
            "classes": [speakable(name) for name in doubts.index.classes],
            "suspects": [_told(number, one, numbers) for number, one in enumerate(_current(place, doubts))],
        }

    @router.put("/v1/labels/{folder}/{mark}/{number}", status_code=204, summary="Keep a decision")
    def put(folder: Number, mark: Mark, number: Number, decision: Decision) -> Response:
        place = folder_of(owned, folder)
        doubts, suspect = _suspect(place, mark, number)
        if decision.label >= len(doubts.index.classes):
            raise Problem(422, "this data set has no class of this number")
        label = None if decision.label == LEFT_OUT else doubts.index.classes[decision.label]
        with turn, _told_if_it_cannot_be_written(place):
            decide(place.patch, suspect.path, label)
        return Response(status_code=204)

    @router.delete("/v1/labels/{folder}/{mark}/{number}", status_code=204, summary="Take a decision back")
    def delete(folder: Number, mark: Mark, number: Number) -> Response:
        place = folder_of(owned, folder)
        suspect = _suspect(place, mark, number)[1]
        with turn, _told_if_it_cannot_be_written(place):
            forget(place.patch, suspect.path)
        return Response(status_code=204)

    @router.get("/v1/labels/{folder}/{mark}/{number}/picture", summary="The picture", response_class=Response)
    def picture(folder: Number, mark: Mark, number: Number) -> Response:
        doubts, suspect = _suspect(folder_of(owned, folder), mark, number)
        try:
            made = small(doubts.index.root / suspect.path, LARGE)
        except Unreadable as e:
            raise Problem(404, f"this picture cannot be shown: {speakable(e.reason)}") from e
        return Response(made, media_type="image/webp", headers=KEPT)

    @router.get("/checks/{folder}", summary="All that the check of a folder found", response_class=Response)
    def page(folder: Number) -> Response:
        return self_contained(folder_of(owned, folder).page, "check the folder first")

    return router


@contextlib.contextmanager
def _told_if_it_cannot_be_written(folder: Folder) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise Problem(409, f"{speakable(str(folder.patch))} cannot be written: {e.strerror}") from e


def _doubts(folder: Folder) -> Doubts:
    try:
        status = folder.table.stat()
    except OSError as e:
        raise Problem(404, "this folder has not been checked yet") from e
    return _read(folder, f"{status.st_mtime_ns:x}{status.st_size:x}")


@functools.lru_cache(maxsize=4)
def _read(folder: Folder, mark: str) -> Doubts:
    index = open_source(folder.root)
    return Doubts(mark, index, tuple(read_suspects(index, folder.table)))


def _current(folder: Folder, doubts: Doubts) -> list[Suspect]:
    """The same suspects with what is decided by now."""
    now = {one.path: one for one in read_suspects(doubts.index, folder.table)}
    return [now.get(one.path, one) for one in doubts.suspects]


def _suspect(folder: Folder, mark: str, number: int) -> tuple[Doubts, Suspect]:
    doubts = _doubts(folder)
    if mark != doubts.mark:
        raise Problem(409, "this folder has been checked again since: load its doubtful labels anew")
    if number >= len(doubts.suspects):
        raise Problem(404, "the check doubts no picture of this number")
    return doubts, doubts.suspects[number]


def _told(number: int, one: Suspect, numbers: dict[str, int]) -> dict[str, Any]:
    decided = None if one.decided is None else numbers.get(one.decided) if one.decided else LEFT_OUT
    given, suggested = numbers[one.given], numbers[one.suggested]
    facts = {"number": number, "path": speakable(one.path), "detail": speakable(one.detail)}
    return {**facts, "given": given, "suggested": suggested, "decided": decided}
