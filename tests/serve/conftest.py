"""A client of an application in this process, and servers in processes of their own for what only a socket can do."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))
from serving import Running, as_png

from shoebox.serve.app import create_app
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of 30 × 20 pixels."""
    return as_png(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def client(exported: Path) -> Iterator[TestClient]:
    """A client of the exported classifier, on the server's own machine."""
    settings = Settings(watch_seconds=0)
    with TestClient(create_app(Service(exported, settings), settings), base_url="http://localhost") as made:
        yield made


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    """running(folder, **settings): start a server; it is killed at the test's end."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path, **settings: object) -> Running:
            made = Running(folder, **settings)
            stack.callback(made.stop)
            return made

        yield start


@pytest.fixture(scope="session")
def server(exported: Path) -> Iterator[Running]:
    """A server with short deadlines and small limits."""
    limits = {"header_seconds": 1.5, "body_seconds": 2, "body": 1 << 20, "waiting": 32, "watch_seconds": 0}
    made = Running(exported, **limits)
    yield made
    made.stop()
