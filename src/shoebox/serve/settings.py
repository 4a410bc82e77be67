"""Everything a server is told at its start: where it listens, who may ask, and how much of anything it takes.

In: the command line and the environment. Out: a frozen `Settings`. Nothing is unbounded: every limit is here.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from shoebox.base.errors import UsageError

TOKEN = "SHOEBOX_TOKEN"
SHORTEST_TOKEN = 16
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """What a server is told.

    Attributes:
        host, port: where to listen; port 0 takes any that is free.
        token: what clients must show; None only on loopback.
        names: host names that clients may use beside the machine's own.
        data: the folder below which the page may be told to train; None for nowhere.
        error, unknown: see `shoebox.deploy.doubt`.
        device: see `shoebox.deploy.fastest.open_backend`.
        body: bytes of a request.
        pictures: in a request.
        waiting: pictures that may wait for their turn; more are refused.
        memory: bytes of all requests at a time.
        seconds: to answer a request, once it has arrived.
        header_seconds, body_seconds: for a request to arrive.
        decode_seconds: for one picture.
        decode_memory: bytes of address space of a decoding process.
        connections: open at a time.
        drain_seconds: for requests to be answered after a signal to stop.
        watch_seconds: between looks for a new version; 0 for never.

    Raises:
        UsageError: anyone on the network could ask: a host that is not loopback needs a token; or the token is short.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    data: Path | None = None
    error: float = 0.05
    unknown: float = 0.01
    device: str = "auto"
    body: int = 32 << 20
    pictures: int = 64
    waiting: int = 256
    memory: int = 256 << 20
    seconds: float = 20.0
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    decode_seconds: float = 10.0
    decode_memory: int = 2 << 30
    connections: int = 8192
    drain_seconds: float = 20.0
    watch_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise UsageError(f"the token is weak: expected {SHORTEST_TOKEN} letters and digits or more")
        if self.token is None and not self.loopback:
            raise UsageError(
                f"--host {self.host} lets others on the network ask: set a token that they must show, in the "
                f"environment variable {TOKEN} or with --token-file, or listen on 127.0.0.1"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def knows(self, host: str) -> bool:
        """Whether a client may call the server by this name, without port. A page elsewhere that lets its own name
        point here (DNS rebinding) uses a name that is none of these."""
        if host in LOOPBACK or host in self.names:
            return True
        if self.loopback:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in (self.host.lower(), socket.gethostname().lower())
        return True


def read_token(file: Path | None) -> str | None:
    """The token, from a file or the environment; never from the command line, which everyone on a machine can read.

    Raises:
        UsageError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as e:
        raise UsageError(f"--token-file {file} cannot be read ({e})") from e
