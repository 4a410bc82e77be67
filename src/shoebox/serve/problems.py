"""Refusals: what a client is told when its request is not answered.

In: a status and one sentence. Out: `application/problem+json` (RFC 9457).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Response

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1


class Problem(HTTPException):
    """A request that is refused.

    Args:
        status: of the response.
        detail: one sentence that says what to do.
        extra: further members of the response's object.
        headers: further headers.
    """

    def __init__(
        self, status: int, detail: str, extra: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.extra = extra or {}


class Busy(Problem):
    """There is no room or no time; the client is asked to try again."""

    def __init__(self, detail: str = "the server is busy: try again in a moment") -> None:
        super().__init__(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})


TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Where Python's name for a status depends on its version."""


def title(status: int) -> str:
    """The name of a status."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def response(problem: HTTPException, request_id: str) -> Response:
    """A refusal as it is sent."""
    status = problem.status_code
    body = {"type": "about:blank", "title": title(status), "status": status, "detail": str(problem.detail)}
    extra = problem.extra if isinstance(problem, Problem) else {}
    content = json.dumps({**body, "id": request_id, **extra})
    return Response(content, status, dict(problem.headers or {}), MEDIA_TYPE)
