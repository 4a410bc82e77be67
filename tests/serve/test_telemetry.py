import json
import logging

import pytest

from shoebox.serve.telemetry import LOG, log_to_stderr


@pytest.fixture
def loggers_as_before():
    names = (LOG.name, "uvicorn.error", "asyncio", "python_multipart")
    before = {name: (log := logging.getLogger(name), log.handlers, log.propagate, log.level) for name in names}
    yield
    for log, handlers, propagate, level in before.values():
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


def test_every_line_is_json_whoever_writes_it(capsys, loggers_as_before):
    log_to_stderr(quiet=False)
    LOG.info("ready", extra={"facts": {"url": "http://127.0.0.1:8000"}})
    logging.getLogger("asyncio").error("a task failed\nbadly")
    logging.getLogger("python_multipart.multipart").warning("Found invalid character 13 in header at 8")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["ready", "a task failed\nbadly"]
    assert lines[0]["url"] == "http://127.0.0.1:8000"


def test_a_quiet_log_tells_of_trouble_only(capsys, loggers_as_before):
    log_to_stderr(quiet=True)
    LOG.info("request")
    LOG.warning("slow")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["slow"]
