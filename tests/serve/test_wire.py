"""What only a socket can do to a server: slow, cut, smuggled and too many requests; and how it stops and reloads."""

import concurrent.futures
import contextlib
import json
import re
import shutil
import signal
import socket
import struct
import threading
import time

import pytest
from serving import read, status

PNG = "Content-Type: image/png"


def until(holds, seconds=15):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.05)


def waiting(server):
    return int(float(re.search(rb"^shoebox_waiting_pictures (\S+)", server.ask("/metrics"), re.M)[1]))


def test_case_66_a_body_that_is_too_large(server):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    declared = server.say(head + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
    assert status(declared) == 413 and b"connection: close" in declared
    piece = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    with server.connect() as made:
        made.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            for _ in range(1000):
                made.sendall(piece)
                sent += 1
        assert status(read(made)) in (413, 0), "closed, if the answer was lost with what was still on its way"
        assert sent < 200, "it stopped taking long before the end"
    assert status(server.ask()) == 200


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: loc", b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"],
)
def test_case_67_a_slow_header(server, start):
    begun = time.monotonic()
    assert status(server.say(start)) == 408
    assert 1 < time.monotonic() - begun < 5


def test_case_67_a_slow_body(server):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    with server.connect() as made:
        made.sendall(head)
        answer, end = [], time.monotonic() + 8
        reader = threading.Thread(target=lambda: answer.append(read(made)))
        reader.start()
        with contextlib.suppress(OSError):
            while reader.is_alive() and time.monotonic() < end:
                made.sendall(b"x")
                time.sleep(0.1)
        reader.join()
    assert status(answer[0]) in (408, 0)
    assert time.monotonic() < end, "closed at the deadline, however steadily it drips"


def test_case_75_more_pictures_than_may_wait(running, exported, picture):
    server = running(exported, waiting=8, watch_seconds=0)
    with concurrent.futures.ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda _: server.post(picture, PNG), range(400)))
    found = {status(answer) for answer in answers}
    refused = [answer for answer in answers if status(answer) == 503]
    assert found == {200, 503} and all(b"retry-after: 1\r\n" in answer for answer in refused)
    assert waiting(server) == 0 and status(server.post(picture, PNG)) == 200


def test_case_76_a_client_that_goes_away(running, exported, picture):
    server = running(exported, waiting=100, watch_seconds=0)
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n{PNG}\r\nContent-Length: {len(picture)}\r\n\r\n"
    for _ in range(300):
        with server.connect() as made:
            made.sendall(head.encode() + picture)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # gone with a reset
    until(lambda: waiting(server) == 0)
    assert status(server.post(picture, PNG)) == 200
    assert not any(line["level"] == "error" for line in server.log), server.log


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
        b" folded: yes\r\nContent-Length: 0\r\n\r\n",
        b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"Host: evil.example\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=range(12),
)
def test_case_80_smuggled_requests(server, lines):
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    answer = server.say(head + lines + smuggled)
    assert status(answer) in (400, 415, 408, 0) and answer.count(b"HTTP/1.1 ") <= 1, answer
    assert b"alive" not in answer, "what came after was taken for another request"


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(15),
)
def test_bytes_that_are_hardly_http_meet_no_defect(server, head):
    answer = server.say(head)
    assert status(answer) in (0, 400, 404, 405, 408, 413, 421, 431), answer[:200]
    assert status(server.ask()) == 200
    assert not any(line["level"] == "error" for line in server.log), server.log


def test_case_81_killed_during_an_upload_nothing_is_left(running, exported, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    server = running(exported, watch_seconds=0)
    before = sorted([*tmp_path.rglob("*"), *exported.parent.rglob("*")])
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9000000\r\n\r\n"
    with server.connect() as made:
        made.sendall(head + bytes(4_000_000))
        until(lambda: status(server.ask()) == 200)
        server.process.kill()
        server.process.wait()
    assert sorted([*tmp_path.rglob("*"), *exported.parent.rglob("*")]) == before


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_slow_connections_stop_nobody(running, exported, picture, count):
    server = running(exported, watch_seconds=0)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nx"
    with contextlib.ExitStack() as stack:
        for i in range(count):
            stack.enter_context(server.connect()).sendall(head[: 20 + i % len(head)])
        begun = time.monotonic()
        assert all(status(server.post(picture, PNG)) == 200 for _ in range(10))
        assert time.monotonic() - begun < 5


def test_a_signal_lets_requests_under_way_end(running, exported, picture):
    server = running(exported, watch_seconds=0)
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + picture + b"\r\n"
    body = 60 * part
    kind = "Content-Type: multipart/form-data; boundary=b"
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        with server.connect() as slow:
            length = len(body) + 7
            slow.sendall(
                f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: {length}\r\n\r\n".encode()
            )
            answers = [threads.submit(server.post, body + b"--b--\r\n", kind) for _ in range(4)]
            until(lambda: waiting(server) or all(answer.done() for answer in answers))
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            slow.sendall(body + b"--b--\r\n")
            assert status(read(slow)) == 200, "one that was still being sent"
        assert [status(answer.result()) for answer in answers] == [200] * 4
    assert server.process.wait(10) in (-signal.SIGTERM, 128 + signal.SIGTERM, 0)


def test_a_new_version_is_taken_up_without_a_lost_request(running, trained, picture, tmp_path):
    import torch

    from shoebox.classifier import Classifier

    run = tmp_path / "run"
    shutil.copytree(trained[0], run, ignore=shutil.ignore_patterns("exports", "backends.json"))
    server = running(run, watch_seconds=0.1)
    stop, answers = threading.Event(), []

    def ask():
        while not stop.is_set():
            answers.append(server.post(picture, PNG))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        mark = json.loads(server.ask("/v1/model").partition(b"\r\n\r\n")[2])["version"]
        classifier = Classifier.load(run, "cpu")
        with torch.no_grad():
            classifier.pipeline.network.head.weight.neg_()
        classifier.save(run)
        until(lambda: json.loads(server.ask("/v1/model").partition(b"\r\n\r\n")[2])["version"] != mark)
        (run / "model.safetensors").write_bytes(b"damaged")
        until(lambda: any(line["event"] == "reload failed" for line in server.log))
        time.sleep(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status(answer) for answer in answers} == {200}
    told = {}
    for answer in answers:
        found = json.loads(answer.partition(b"\r\n\r\n")[2])
        told.setdefault(found["model"]["version"], set()).add(found["predictions"][0]["label"])
    assert len(told) == 2 and all(len(labels) == 1 for labels in told.values()), "each version speaks for itself"
