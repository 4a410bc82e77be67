"""What a server tells of itself: Prometheus metrics, and a log of one JSON object a line.

In: requests, batches, versions as they come. Out: text for `/metrics`, lines on stderr. Neither holds a token, a
query, a header or the name of a file that a client gave.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from shoebox.serve.version import Version

LONGEST_PATH = 200
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
LOG = logging.getLogger("shoebox.serve")


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, event, and what the record carries."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, ASCII only."""
        made = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            made["error"] = self.formatException(record.exc_info)
        return json.dumps(made, default=str)


def log_to_stderr(*, quiet: bool) -> None:
    """Write the log to stderr; only warnings and errors if `quiet`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    levels = {
        LOG.name: logging.WARNING if quiet else logging.INFO,
        "uvicorn.error": logging.ERROR,
        "asyncio": logging.ERROR,
        # What it says of a malformed body is the client's mistake, and told to the client.
        "python_multipart": logging.CRITICAL,
    }
    for name, level in levels.items():
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(level)


class Telemetry:
    """Counts, and tells."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("shoebox_requests", "Requests answered.", labels, registry=own)
        self._seconds = Histogram(
            "shoebox_request_seconds", "From a request's head to its answer.", ["route"], buckets=SECONDS, registry=own
        )
        self._pictures = Counter("shoebox_pictures", "Pictures answered, by outcome.", ["outcome"], registry=own)
        self._batches = Histogram("shoebox_batch_pictures", "Pictures in a batch.", buckets=BATCHES, registry=own)
        self._lost = Counter("shoebox_decoders_lost", "Decoders that crashed or took too long.", registry=own)
        self._waiting = Gauge("shoebox_waiting_pictures", "Pictures that wait for their turn.", registry=own)
        self._version = Gauge("shoebox_model", "1 for the version that answers.", ["name", "version"], registry=own)
        self._failed = Counter("shoebox_reload_failures", "Versions that could not be opened.", registry=own)

    def request(self, method: str, path: str, route: str, status: int, seconds: float, size: int, id: str) -> None:
        """A request has been answered; `route` is the pattern that its path matched."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if LOG.isEnabledFor(logging.INFO):
            facts = {"method": method, "path": path[:LONGEST_PATH], "status": status, "id": id}
            LOG.info("request", extra={"facts": {**facts, "ms": round(1000 * seconds, 2), "bytes": size}})

    def pictures(self, answered: int, unreadable: int) -> None:
        """A request's pictures have been looked at."""
        self._pictures.labels("answered").inc(answered)
        self._pictures.labels("unreadable").inc(unreadable)

    def batch(self, pictures: int, lost: int) -> None:
        """A batch has been decoded."""
        self._batches.observe(pictures)
        if lost:
            self._lost.inc(lost)
            LOG.warning("decoder lost", extra={"facts": {"processes": lost}})

    def queue(self, length: Callable[[], float]) -> None:
        """Ask `length` how many pictures wait, whenever metrics are read."""
        self._waiting.set_function(length)

    def version(self, version: Version) -> None:
        """This version answers from now on."""
        self._version.clear()
        self._version.labels(version.name, version.mark).set(1)
        LOG.info("version", extra={"facts": {"version": version.mark, "backend": version.backend.name}})

    def reload_failed(self, error: BaseException) -> None:
        """A new version could not be opened; the one before goes on answering."""
        self._failed.inc()
        LOG.error("reload failed", extra={"facts": {"reason": str(error)}})

    def failure(self, id: str, error: BaseException) -> None:
        """A request met a defect of the server."""
        LOG.error("defect", exc_info=error, extra={"facts": {"id": id}})

    def ready(self, url: str) -> None:
        """The server listens."""
        LOG.info("ready", extra={"facts": {"url": url}})

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self._registry)
