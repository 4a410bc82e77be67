"""The JSON that the server speaks, described for OpenAPI with examples.

In: nothing. Out: pydantic models of responses, and the description of what `POST /v1/predict` takes.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shoebox.serve.problems import MEDIA_TYPE, title
from shoebox.serve.uploads import MULTIPART, RAW

MOST_HEATS = 8


class Asked(BaseModel):
    """What a request for predictions may ask for, in its query."""

    top: int = Field(3, ge=1, le=10_000, description="How many classes to name.")
    probabilities: bool = Field(False, description="Give the probability of every class.")
    cam: bool = Field(False, description=f"Say where the evidence lies, for up to {MOST_HEATS} pictures.")


class Ranked(BaseModel):
    """A class with how probable it is."""

    label: str
    confidence: float = Field(ge=0, le=1)


class Cam(BaseModel):
    """Where the network saw what speaks for a class."""

    label: str
    picture: str = Field(description="The picture as the network's preparation stores it: a PNG as data: URL.")
    heat: str = Field(description="Of the same size, grey: white where the evidence is strongest.")


class Prediction(BaseModel):
    """What is said of one picture."""

    name: str | None = Field(description="As the client called it.")
    status: str = Field(description='"ok", or why the picture could not be read; all that follows is then missing.')
    label: str | None = None
    confidence: float | None = Field(None, ge=0, le=1, description="Calibrated probability of the label.")
    top: list[Ranked] | None = None
    set: list[str] | None = Field(None, description="Holds the right class as often as promised; null: not known.")
    unsure: bool | None = Field(None, description="Less sure than the promise asks for; null: not known.")
    unknown: bool | None = Field(None, description="Of none of the classes; null: not known.")
    probabilities: dict[str, float] | None = None
    cam: Cam | None = None


class ModelName(BaseModel):
    """Which classifier answered."""

    name: str
    version: str


class Predictions(BaseModel):
    """What is said of the pictures of a request, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": {"name": "animals", "version": "9f2c41d0e6a1"},
                    "predictions": [
                        {
                            "name": "photo.jpg",
                            "status": "ok",
                            "label": "cat",
                            "confidence": 0.971,
                            "top": [{"label": "cat", "confidence": 0.971}, {"label": "dog", "confidence": 0.021}],
                            "set": ["cat"],
                            "unsure": False,
                            "unknown": False,
                        },
                        {"name": "notes.txt", "status": "not a picture Shoebox opens: it holds text"},
                    ],
                }
            ]
        }
    )
    model: ModelName
    predictions: list[Prediction]


class Promised(BaseModel):
    """What is promised of answers that are not `unsure`."""

    threshold: float
    answered: int
    mistakes: int
    pictures: int


class Limits(BaseModel):
    """What a request may hold."""

    body: int
    pictures: int


class Model(BaseModel):
    """The classifier that is served."""

    name: str
    version: str
    architecture: str
    classes: list[str]
    backend: str
    preprocess: dict[str, Any]
    run: bool
    cam: bool
    error: float
    promise: Promised | None
    limits: Limits
    shoebox: str
    card: dict[str, Any]


class Status(BaseModel):
    """Whether the server lives."""

    status: str


class Refused(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    id: str
    pictures: list[dict[str, str | None]] | None = None


_PICTURE = {"type": "string", "format": "binary"}
TAKEN: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in Asked.model_json_schema()["properties"].items()
    ],
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "properties": {"pictures": {"type": "array", "items": _PICTURE, "minItems": 1}},
                    "required": ["pictures"],
                }
            },
            "image/jpeg": {"schema": _PICTURE},
            "image/png": {"schema": _PICTURE},
            RAW: {"schema": _PICTURE},
        },
    },
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, as OpenAPI wants them; those of the gate are every route's."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Refused"}}}
    return {s: {"description": title(s), "content": content} for s in sorted({400, 401, 403, 421, *statuses})}
