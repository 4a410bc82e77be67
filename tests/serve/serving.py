"""Servers in processes of their own, for tests of what only a socket can do."""

import contextlib
import io
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = """
import json, sys
from pathlib import Path
from shoebox.serve.run import serve
from shoebox.serve.settings import Settings
serve(Path(sys.argv[1]), Settings(**json.loads(sys.argv[2])))
"""


def as_png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class Running:
    """A server in a process of its own."""

    def __init__(self, folder: Path, **settings: object) -> None:
        command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps({"port": 0, **settings})]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log: list[dict[str, object]] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == "ready":
                break
        assert self.log and self.log[-1]["event"] == "ready", self.log
        self.port = int(str(self.log[-1]["url"]).rpartition(":")[2])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def connect(self, seconds: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def say(self, *parts: bytes) -> bytes:
        """Send bytes on a new connection; what comes back until the server closes it, or falls silent."""
        with self.connect() as made:
            with contextlib.suppress(OSError):
                for part in parts:
                    made.sendall(part)
            return read(made)

    def ask(self, path: str = "/healthz") -> bytes:
        return self.say(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    def post(self, body: bytes, *headers: str, path: str = "/v1/predict") -> bytes:
        head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
        return self.say("\r\n".join([*head, *headers, "", ""]).encode() + body)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def read(connection: socket.socket) -> bytes:
    """All that comes, until the end or a reset."""
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while part := connection.recv(1 << 16):
            found += part
    return found


def status(answer: bytes) -> int:
    """The status of a response as it came; 0 where the connection was just closed."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
