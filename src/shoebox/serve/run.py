"""A server from its start to its end: checks, a socket, the application, and a drain when it is told to stop.

In: what the command line was told. Out: nothing until a signal; requests under way are then answered first.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import uvicorn

from shoebox.base.errors import UsageError
from shoebox.serve.app import Mount, create_app
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings
from shoebox.serve.telemetry import log_to_stderr
from shoebox.serve.wire import protocol

BACKLOG = 4096
SPARE_FILES = 512


def serve(run: Path, settings: Settings, mounts: Sequence[Mount] = (), *, quiet: bool = False) -> None:
    """Serve a run's folder or an exported one until a signal says to stop.

    Args:
        mounts: what else to serve, see `create_app`.
        quiet: log warnings and errors only.

    Raises:
        UsageError: there is no classifier in the folder, or the address cannot be listened on.
        ShoeboxError: the classifier is damaged.
    """
    with contextlib.closing(_listen(settings)) as listener:
        host, port = listener.getsockname()[:2]
        settings = replace(settings, port=port, connections=min(settings.connections, _files() - SPARE_FILES))
        log_to_stderr(quiet=quiet)
        service = Service(run, settings)
        config = uvicorn.Config(
            create_app(service, settings, mounts),
            http=protocol(settings),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(settings.header_seconds),
            timeout_graceful_shutdown=int(settings.drain_seconds),
        )
        shown = f"[{host}]" if ":" in host else host
        _Server(config, lambda: service.telemetry.ready(f"http://{shown}:{port}")).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _listen(settings: Settings) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, number)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except (OSError, OverflowError) as e:
        raise UsageError(
            f"{settings.host} port {settings.port} cannot be listened on ({e}): choose another with --port, or 0 for "
            "any that is free"
        ) from e
    return made


def _files() -> int:
    """How many files this process may have open, raised as far as the system lets it."""
    try:
        import resource
    except ImportError:
        return 2048
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 1 << 16) if hard != resource.RLIM_INFINITY else 1 << 16
    if soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return max(soft, 2 * SPARE_FILES)
