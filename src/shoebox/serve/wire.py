"""The wire: uvicorn's HTTP protocol with deadlines, so that slow clients cost a connection and nothing else.

In: bytes of a connection. Out: requests to the app. A head or a body that does not arrive in time is answered 408, a
head that is too long 431, and a response that is not taken in time is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shoebox.serve.problems import MEDIA_TYPE, title
from shoebox.serve.settings import Settings

LONGEST_HEAD = 32 << 10


def protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol with the limits of some settings."""

    class Wire(HttpToolsProtocol):
        """One connection."""

        _alarm: asyncio.TimerHandle | None = None
        _in_head = True
        _head = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > settings.connections:
                self._say(503, ("retry-after", "1"))
                return
            self._set(settings.header_seconds, lambda: self._say(408))

        def connection_lost(self, exc: Exception | None) -> None:
            self._set(0)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self._in_head:
                self._head += len(data)
            super().data_received(data)
            if self._in_head and self._head > LONGEST_HEAD and not self.transport.is_closing():
                self._say(431)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True
            self._set(settings.header_seconds, lambda: self._say(408))

        def on_headers_complete(self) -> None:
            self._in_head, self._head = False, 0
            self._set(settings.body_seconds, lambda: self._say(408))
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._set(0)
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._set(settings.body_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._set(0)

        def send_400_response(self, msg: str) -> None:
            self._set(0)
            self._say(400)

        def _set(self, seconds: float, then: Callable[[], Any] | None = None) -> None:
            """Let something happen after some seconds, unless this is called again."""
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self.loop.call_later(seconds, then) if then is not None else None

        def _say(self, status: int, *headers: tuple[str, str]) -> None:
            """Answer without the app, and close; the app learns that the client has gone."""
            told = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
            if not told and not self.transport.is_closing():
                name = title(status)
                body = f'{{"type": "about:blank", "title": "{name}", "status": {status}}}'
                fields = (("content-type", MEDIA_TYPE), ("content-length", str(len(body))), ("connection", "close"))
                lines = [f"HTTP/1.1 {status} {name}", *(f"{key}: {value}" for key, value in (*fields, *headers))]
                self.transport.write("\r\n".join([*lines, "", body]).encode("ascii"))
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self.transport.close()

    return Wire
