"""The gate: what every request passes before any route sees it, and every response on its way out.

In: ASGI. Out: the app's response, or a refusal: of hosts, origins and tokens (`shoebox.serve.access`), of bodies that
are compressed or too large, which is found out while they arrive; with the headers that keep a browser safe.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import defaultdict
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoebox.serve import access
from shoebox.serve.access import Headers
from shoebox.serve.problems import Busy, Problem, response
from shoebox.serve.settings import Settings
from shoebox.serve.telemetry import Telemetry

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; worker-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
SAFETY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_SAFETY = [(name.encode(), value.encode()) for name, value in SAFETY.items()]
UNMATCHED = "none"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class Gate:
    """ASGI middleware around the whole app.

    Args:
        app: what answers.
        settings: limits and who may ask.
        telemetry: told of every request.
    """

    def __init__(self, app: ASGIApp, settings: Settings, telemetry: Telemetry) -> None:
        self._app = app
        self._settings = settings
        self._telemetry = telemetry
        self._held = 0
        prefix = secrets.token_hex(6)
        self._ids = (f"{prefix}-{number}" for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(self, scope, receive, send)
        try:
            await passage.run()
        finally:
            passage.end()


class _Passage:
    """One request on its way through."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope, self._receive, self._send = gate, scope, receive, send
        self.id = next(gate._ids)
        self.since = time.perf_counter()
        self.size = 0
        self.status = 0
        self.whole = False
        scope.setdefault("state", {})["request_id"] = self.id

    async def run(self) -> None:
        """Answer, whatever happens."""
        try:
            answer = self._refusal_or_way_in()
            if answer is None:
                await self.gate._app(self.scope, self.receive, self.send)
            else:
                await answer(self.scope, self.receive, self.send)
        except Problem as e:
            await self._refuse(e)
        except ClientDisconnect:
            return
        except Exception as e:  # noqa: BLE001 (a defect is this request's, and told in the log)
            self.gate._telemetry.failure(self.id, e)
            await self._refuse(Problem(500, "a defect of the server; its log says more under this id"))

    def end(self) -> None:
        """Let go of what was held, and tell of it."""
        self.gate._held -= self.size
        route = getattr(self.scope.get("route"), "path", UNMATCHED)
        method = self.scope["method"] if self.scope["method"] in METHODS else "other"
        seconds = time.perf_counter() - self.since
        path, status = self.scope["path"], self.status or 499  # the client went away, as nginx says it
        self.gate._telemetry.request(method, path, route, status, seconds, self.size, self.id)

    def _refusal_or_way_in(self) -> ASGIApp | None:
        settings, method, path = self.gate._settings, self.scope["method"], self.scope["path"]
        headers: Headers = defaultdict(list)
        for name, value in self.scope["headers"]:
            headers[name.decode("latin-1").lower()].append(value.decode("latin-1"))
        access.check_host(headers, settings)
        if settings.token is not None:
            shown = access.token_in_query(method, path, self.scope["query_string"].decode("latin-1"))
            if shown is not None and access.same(shown, settings.token):
                redirect = RedirectResponse("/", 303)
                redirect.set_cookie(access.COOKIE, shown, path="/", httponly=True, samesite="strict")
                return redirect
        access.check_token(path, headers, settings)
        access.check_origin(method, headers)
        if headers.get("content-encoding", ["identity"]) != ["identity"]:
            raise Problem(415, "compressed bodies are not taken: send pictures as they are")
        declared = headers.get("content-length", ["0"])[0]
        if not declared.isdecimal():
            raise Problem(400, "expected a number in Content-Length")
        if int(declared) > settings.body:
            raise self._too_large()
        self.whole = declared == "0" and "transfer-encoding" not in headers
        return None

    def _too_large(self) -> Problem:
        return Problem(413, f"a request may have {self.gate._settings.body >> 20} MiB: send fewer or smaller pictures")

    async def receive(self) -> Message:
        """The next part of the body, counted."""
        message = await self._receive()
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self.size += count
            self.gate._held += count
            if self.size > self.gate._settings.body:
                raise self._too_large()
            if self.gate._held > self.gate._settings.memory:
                raise Busy
            self.whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the response on, the headers completed."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            names = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in _SAFETY if name not in names]
            headers.append((b"x-request-id", self.id.encode()))
            if not self.whole:  # what has not been read is not waited for
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def _refuse(self, problem: Problem) -> None:
        if self.status:  # half a response cannot be taken back
            raise problem
        answer: Any = response(problem, self.id)
        await answer(self.scope, self.receive, self.send)
