"""Serving under load: 64 clients that each ask again as soon as they are answered; against `predict`, and LitServe.

    python -m benchmarks.serve RUN PICTURES [--seconds 15] [--clients 64] [--rounds 2] [--minutes 10]

RUN is a run's folder or an exported one, PICTURES a folder of pictures. LitServe serves the same backend in the same
run, in each of the settings of `LIT` (its best is compared), where it is installed. With --minutes the server is only
kept under load for that long, and its memory watched. Each server, and the clients, have processes of their own; all
share the machine.
"""

import argparse
import base64
import importlib.util
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

MOST_PICTURES = 500
LIT = (
    {"workers_per_device": 2, "max_batch_size": 16, "batch_timeout": 0.005},
    {"workers_per_device": 2, "max_batch_size": 8, "batch_timeout": 0.005},
    {"workers_per_device": 2, "max_batch_size": 1},
)
LITSERVE = """
import base64, json, sys
from pathlib import Path
import litserve
import numpy as np
from shoebox.data.picture import load
from shoebox.deploy.fastest import open_backend

class Api(litserve.LitAPI):
    def setup(self, device):
        self.backend = open_backend(Path(sys.argv[1]))
    def decode_request(self, request):
        return load(base64.b64decode(request["picture"]), self.backend.preprocess)
    def batch(self, inputs):
        return np.stack(inputs)
    def predict(self, x):
        return self.backend.scores(x if x.ndim == 4 else x[None])[0]
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        output = output.reshape(-1)
        order = np.argsort(-output)[:3]
        return {"top": [{"label": self.backend.classes[i], "confidence": float(output[i])} for i in order]}

if __name__ == "__main__":
    settings = json.loads(sys.argv[3])
    timeout = settings.pop("batch_timeout", 0.0)
    workers = settings.pop("workers_per_device")
    api = Api(batch_timeout=timeout, **settings)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(port=int(sys.argv[2]), generate_client_file=False, log_level="error", host="127.0.0.1")
"""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0)
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.pictures.rglob("*") if path.is_file())[:MOST_PICTURES]
    bodies = [path.read_bytes() for path in files]
    if arguments.minutes:
        print(json.dumps(endure(arguments.run, bodies, arguments.clients, arguments.minutes), indent=2))
        return
    found: dict[str, list[dict[str, Any]]] = {}

    def note(name: str, figures: dict[str, Any]) -> None:
        found.setdefault(name, []).append(figures)
        print(name, json.dumps(figures), flush=True)

    for _ in range(arguments.rounds):
        note("predict", {"rate": predict_rate(arguments.run, files, arguments.seconds)})
        with_shoebox = Shoebox(arguments.run)
        note("shoebox serve", with_shoebox.measure(bodies, arguments.clients, arguments.seconds))
        if importlib.util.find_spec("litserve"):
            for settings in LIT:
                lit = LitServe(arguments.run, settings)
                note(f"litserve {json.dumps(settings)}", lit.measure(bodies, arguments.clients, arguments.seconds))
    best = {name: max(one["rate"] for one in figures) for name, figures in found.items()}
    ours = best["shoebox serve"]
    print(f"throughput: {ours / best['predict']:.2f} x predict's")
    if peers := [rate for name, rate in best.items() if name.startswith("litserve")]:
        print(f"throughput: {ours / max(peers):.2f} x LitServe's best")
    for one in found["shoebox serve"]:
        print(f"p99 {one['p99_ms']} ms <= 2 x p50 {one['p50_ms']} ms + one batch: {one['p99_ms'] <= 2 * one['p50_ms']}")


def predict_rate(run: Path, files: Sequence[Path], seconds: float) -> float:
    """Pictures a second of `predict` in one process that is warm, start-up not counted."""
    program = (
        "import sys, time; from pathlib import Path; from shoebox.deploy.backends import answers\n"
        "from shoebox.deploy.fastest import open_backend\n"
        "files = [Path(line) for line in sys.stdin.read().splitlines()]; backend = open_backend(Path(sys.argv[1]))\n"
        "list(answers(backend, files[:64])); start = time.perf_counter(); done = 0\n"
        "while time.perf_counter() - start < float(sys.argv[2]): done += len(list(answers(backend, files)))\n"
        "print(done / (time.perf_counter() - start))"
    )
    command = [sys.executable, "-c", program, str(run), str(seconds)]
    told = subprocess.run(command, input="\n".join(map(str, files)), capture_output=True, text=True, check=True)
    return round(float(told.stdout), 1)


class Server:
    """A server in a process of its own, and how it is asked."""

    process: subprocess.Popen[str]
    port: int
    path: str

    def request(self, picture: bytes) -> bytes:
        """A whole HTTP request for one picture."""
        kind, body = self.body(picture)
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nContent-Type: {kind}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def body(self, picture: bytes) -> tuple[str, bytes]:
        """The media type and the body."""
        raise NotImplementedError

    def measure(self, pictures: Sequence[bytes], clients: int, seconds: float) -> dict[str, Any]:
        """Load it, after a little while to warm up; then stop it."""
        try:
            requests = [self.request(picture) for picture in pictures]
            load(self.port, requests, clients, 3)
            return load(self.port, requests, clients, seconds)
        finally:
            self.stop()

    def memory(self) -> int:
        """Bytes held by the server and all its processes."""
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        return sum(process.memory_info().rss for process in family)

    def stop(self) -> None:
        """End it and all its processes."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        self.process.wait(30)
        for process in family:
            if process.is_running():
                process.kill()


class Shoebox(Server):
    """`shoebox serve`."""

    path = "/v1/predict"

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "shoebox", "serve", str(run), "--port", "0"]
        log = Path(f"/tmp/shoebox-serve-{os.getpid()}.log")
        self.process = subprocess.Popen(command, stderr=log.open("w"), text=True)
        while not (ready := [line for line in log.read_text().splitlines() if '"ready"' in line]):
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.1)
        self.port = int(json.loads(ready[0])["url"].rpartition(":")[2])

    def body(self, picture: bytes) -> tuple[str, bytes]:
        """The picture as it is."""
        return "image/jpeg", picture


class LitServe(Server):
    """LitServe with the same backend and decoder."""

    path = "/predict"

    def __init__(self, run: Path, settings: dict[str, Any]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = Path(f"/tmp/litserve-{os.getpid()}.py")
        program.write_text(LITSERVE)
        command = [sys.executable, str(program), str(run), str(self.port), json.dumps(settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        for _ in range(600):
            assert self.process.poll() is None, "LitServe has ended"
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as asking:
                    asking.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if b" 200 " in asking.recv(100):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise TimeoutError("LitServe does not answer")

    def body(self, picture: bytes) -> tuple[str, bytes]:
        """The picture in JSON, as LitServe's documentation sends files."""
        return "application/json", json.dumps({"picture": base64.b64encode(picture).decode()}).encode()


def load(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """Keep `clients` connections busy; requests are taken in turn.

    Returns:
        rate (answers a second), p50_ms, p99_ms, failed (answers other than 200).
    """
    chosen = selectors.DefaultSelector()
    turn, latencies, failed = 0, [], 0
    since: dict[socket.socket, float] = {}
    got: dict[socket.socket, bytes] = {}

    def ask(connection: socket.socket) -> None:
        nonlocal turn
        since[connection], got[connection] = time.perf_counter(), b""
        connection.sendall(requests[turn % len(requests)])
        turn += 1

    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    start = time.perf_counter()
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chosen.register(connection, selectors.EVENT_READ)
        ask(connection)
    while (now := time.perf_counter()) - start < seconds:
        for key, _ in chosen.select(1):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            part = connection.recv(1 << 16)
            got[connection] += part
            head, end, body = got[connection].partition(b"\r\n\r\n")
            if part and (not end or len(body) < _length(head)):
                continue
            if head[9:12] != b"200":
                failed += 1
            latencies.append(time.perf_counter() - since[connection])
            assert part, f"the server closed a connection after {got[connection][:200]!r}"
            ask(connection)
    for connection in connections:
        connection.close()
    cuts = statistics.quantiles(latencies, n=100)
    figures = {"p50_ms": round(1000 * cuts[49], 1), "p99_ms": round(1000 * cuts[98], 1), "failed": failed}
    return {"rate": round(len(latencies) / (now - start), 1), **figures}


def _length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + 15
    return int(head[at:].split(b"\r\n", 1)[0])


def endure(run: Path, pictures: Sequence[bytes], clients: int, minutes: float) -> dict[str, Any]:
    """Memory of the server and its processes under load: after each tenth of the time, in MiB."""
    server = Shoebox(run)
    try:
        requests = [server.request(picture) for picture in pictures]
        load(server.port, requests, clients, 10)
        before, held, rates = server.memory() >> 20, [], []
        for _ in range(10):
            rates.append(load(server.port, requests, clients, 6 * minutes)["rate"])
            held.append(server.memory() >> 20)
        return {"rate": rates, "memory_before": before, "memory": held}
    finally:
        server.stop()


if __name__ == "__main__":
    main()
