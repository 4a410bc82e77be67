"""The routes and the gate before them, asked in this process."""

import base64
import gzip
import io
import pickle

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import as_png

from shoebox.base.errors import UsageError
from shoebox.data.picture import load
from shoebox.deploy.backends import open_exported
from shoebox.serve.app import create_app
from shoebox.serve.gate import POLICY
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings

RAW = {"content-type": "application/octet-stream"}


def test_one_picture_is_answered_as_the_backend_answers_it(client, picture, exported):
    backend = open_exported(exported)
    expected = backend.scores(load(picture, backend.preprocess)[None])[0][0]
    for sent in (
        {"content": picture, "headers": {"content-type": "image/png"}},
        {"files": {"file": ("a.png", picture)}},
    ):
        answer = client.post("/v1/predict?probabilities=true&top=2", **sent)
        assert answer.status_code == 200
        (row,) = answer.json()["predictions"]
        assert list(row["probabilities"]) == ["cat", "dog", "owl"]
        assert np.allclose(list(row["probabilities"].values()), expected, atol=2e-6)
        assert [rank["label"] for rank in row["top"]] == [backend.classes[i] for i in np.argsort(-expected)[:2]]
        assert row["label"] == row["top"][0]["label"] and row["confidence"] == row["top"][0]["confidence"]
        assert row["name"] == ("a.png" if "files" in sent else None)


def test_many_pictures_keep_their_order_and_the_unreadable_their_reason(client):
    names = [f"{i}.png" for i in range(20)]
    shades = [as_png(np.full((9, 9, 3), 10 * i, np.uint8)) for i in range(20)]
    shades[7] = b"this is text"
    answer = client.post(
        "/v1/predict?probabilities=1", files=[("x", (n, d)) for n, d in zip(names, shades, strict=True)]
    )
    rows = answer.json()["predictions"]
    assert answer.status_code == 200 and [row["name"] for row in rows] == names
    assert rows[7] == {"name": "7.png", "status": "not a picture Shoebox opens: it holds plain text"}
    alone = [client.post("/v1/predict?probabilities=1", content=shades[i], headers=RAW).json() for i in (0, 19)]
    for i, one in zip((0, 19), alone, strict=True):
        assert rows[i]["probabilities"] == pytest.approx(one["predictions"][0]["probabilities"], abs=2e-6)


def test_doubt_goes_with_the_export_and_agrees_with_the_run(exported, trained, picture):
    from shoebox.deploy.doubt import read_doubt

    backend = open_exported(exported)
    scores = backend.scores(load(picture, backend.preprocess)[None])
    ours, theirs = read_doubt(exported, 0.1, 0.05), read_doubt(trained[0], 0.1, 0.05)
    assert ours.promise == theirs.promise and ours.conformal == theirs.conformal
    assert ours.novelty.threshold == theirs.novelty.threshold
    first, second = ours.judge(*scores), theirs.judge(*scores)
    assert (first.sets == second.sets).all() and first.unknown == second.unknown and first.unsure == second.unsure
    names = (exported / "validation.npz").read_bytes()
    assert b".jpg" not in names, "whose pictures they were stays with the run"


def test_flags_are_those_of_the_thresholds(client, picture):
    row = client.post("/v1/predict", content=picture, headers=RAW).json()["predictions"][0]
    promise = client.get("/v1/model").json()["promise"]
    assert row["unsure"] == (row["confidence"] < promise["threshold"])
    assert set(row["set"]) <= {"cat", "dog", "owl"} and isinstance(row["unknown"], bool)


def test_a_run_says_where_it_looked_and_an_export_that_it_cannot(client, trained, picture):
    refused = client.post("/v1/predict?cam=true", content=picture, headers=RAW)
    assert refused.status_code == 422 and "serve the folder of its run" in refused.json()["detail"]
    settings = Settings(watch_seconds=0)
    with TestClient(create_app(Service(trained[0], settings), settings), base_url="http://127.0.0.1:8000") as of_run:
        assert of_run.get("/v1/model").json()["cam"] is True
        cam = of_run.post("/v1/predict?cam=true", content=picture, headers=RAW).json()["predictions"][0]["cam"]
        pictures = [
            Image.open(io.BytesIO(base64.b64decode(cam[part].removeprefix("data:image/png;base64,"))))
            for part in ("picture", "heat")
        ]
        assert [(p.size, p.mode) for p in pictures] == [((24, 24), "RGB"), ((24, 24), "L")]
        nine = [("x", (f"{i}", picture)) for i in range(9)]
        assert of_run.post("/v1/predict?cam=true", files=nine).status_code == 413


def test_the_model_the_probes_and_the_metrics(client, exported):
    model = client.get("/v1/model").json()
    assert model["classes"] == ["cat", "dog", "owl"] and model["backend"] == "onnx" and not model["run"]
    assert client.get("/healthz").json() == {"status": "alive"} and client.get("/readyz").json() == {"status": "ready"}
    metrics = client.get("/metrics").text
    assert 'shoebox_requests_total{method="GET",route="/healthz",status="200"}' in metrics
    assert f'version="{model["version"]}"' in metrics
    schema = client.get("/openapi.json").json()
    assert schema["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert schema["components"]["schemas"]["Predictions"]["examples"] and "Refused" in schema["components"]["schemas"]


def test_every_response_is_safe_for_a_browser(client):
    for path in ("/v1/model", "/nothing", "/metrics"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == POLICY and headers["x-content-type-options"] == "nosniff"
    missing = client.get("/nothing")
    assert missing.status_code == 404 and missing.headers["content-type"] == "application/problem+json"
    assert missing.json()["id"] == missing.headers["x-request-id"]
    assert client.delete("/v1/model").status_code == 405


def test_case_68_a_wrong_content_type_is_refused(client, picture):
    for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded", "image/svg+xml", ""):
        assert client.post("/v1/predict", content=picture, headers={"content-type": kind}).status_code == 415, kind


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 400),
        (b"--b\r\n", 400),
        (b"no boundary at all", 400),
        (b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\ncut', 400),
        (b'--b\r\nContent-Disposition: attachment; filename="a"\r\n\r\nx\r\n--b--\r\n', 400),
        (b"--b\r\n\r\nx\r\n--b--\r\n", 400),
        (b"--b\r\n" + b"X-%d: y\r\n" * 500 + b"\r\nx\r\n--b--\r\n", 400),
        (b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n", 400),
        (b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n' + b"y" * 100_000 + b"\r\n--b--\r\n", 413),
        (b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\ny\r\n' * 100_000 + b"--b--\r\n", 413),
        (b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\ny\r\n' * 100_000 + b"--b--\r\n", 413),
        (b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nonly a field\r\n--b--\r\n', 400),
    ],
    ids=range(12),
)
def test_case_69_malformed_forms_huge_fields_and_too_many_parts(client, body, expected):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/v1/predict", content=body, headers=headers).status_code == expected
    assert client.post("/v1/predict", content=body, headers={"content-type": "multipart/form-data"}).status_code == 400


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b.png", "a\\b.png", "..", "a\0.png", "é" * 200])
def test_case_70_a_name_that_is_a_path(client, picture, name):
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="' + name.encode() + b'"\r\n\r\n'
    body = head + picture + b"\r\n--b--\r\n"
    answer = client.post("/v1/predict", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400


def test_case_71_no_endpoint_takes_a_url(client):
    assert client.get("/v1/predict?url=http://localhost/x.png").status_code == 405
    assert client.post("/v1/predict", json={"url": "http://localhost/x.png"}).status_code == 415
    assert client.post("/v1/predict?url=file:///etc/passwd", content=b"", headers=RAW).status_code == 400


def test_case_72_a_pickle(client):
    for kind in ("application/x-pickle", "application/octet-stream", "application/python-pickle"):
        body = pickle.dumps({"a": 1})
        assert client.post("/v1/predict", content=body, headers={"content-type": kind}).status_code == 415


def test_case_73_a_picture_bomb(client):
    header = as_png(np.zeros((1, 1), np.uint8))
    bomb = header[:16] + (60_000).to_bytes(4, "big") * 2 + header[24:]
    answer = client.post("/v1/predict", content=bomb, headers=RAW)
    assert answer.status_code == 422 and answer.json()["pictures"][0]["name"] is None


def test_case_74_a_compressed_body(client, picture):
    for encoding in ("gzip", "br", "deflate", "identity, gzip"):
        headers = {**RAW, "content-encoding": encoding}
        assert client.post("/v1/predict", content=gzip.compress(picture), headers=headers).status_code == 415


def test_case_77_a_page_of_another_site(client, picture):
    for origin in ("null", "https://evil.example", "http://localhost:9", "http://localhost.evil.example", "file://"):
        answer = client.post("/v1/predict", content=picture, headers={**RAW, "origin": origin})
        assert answer.status_code == 403, origin
    cross = {**RAW, "sec-fetch-site": "cross-site"}
    assert client.post("/v1/predict", content=picture, headers=cross).status_code == 403
    own = {**RAW, "origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/predict", content=picture, headers=own).status_code == 200


def test_case_78_a_wrong_host(client):
    for host in (
        "evil.example",
        "localhost.evil.example",
        "192.168.0.1",
        "127.0.0.1.nip.io",
        "localhost@evil",
        "0.0.0.0",
    ):
        assert client.get("/v1/model", headers={"host": host}).status_code == 421, host
    for host in ("localhost:1", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert client.get("/v1/model", headers={"host": host}).status_code == 200, host


def test_case_79_everyone_may_ask_only_with_a_token(trained):
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(UsageError, match="token"):
            Settings(host)
    with pytest.raises(UsageError, match="weak"):
        Settings("0.0.0.0", token="short")
    assert "a-secret-of-some" not in repr(Settings("0.0.0.0", token="a-secret-of-some-length"))


def test_a_token_is_asked_of_everyone_and_exchanged_for_a_cookie(exported, picture, caplog):
    token = "a-secret-of-some-length"
    settings = Settings("0.0.0.0", token=token, names=("shoebox.example",), watch_seconds=0)
    app = create_app(Service(exported, settings), settings)
    with caplog.at_level("INFO"), TestClient(app, base_url="http://shoebox.example", follow_redirects=False) as client:
        assert client.get("/healthz").status_code == 200
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {token}"},
            {"cookie": "shoebox=x"},
        ):
            answer = client.get("/v1/model", headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get("/v1/model", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/v1/model", headers={"authorization": f"Bearer {token}", "host": "evil"}).status_code == 421
        assert client.get("/?token=wrong").status_code == 401
        answer = client.get(f"/?token={token}")
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert client.get("/v1/model").status_code == 200, "by the cookie"
        assert client.post("/v1/predict", content=picture, headers=RAW).status_code == 200
    told = [vars(record) for record in caplog.records if record.name == "shoebox.serve"]
    assert told and token not in str(told)


def test_case_82_svg_and_html_are_refused_and_nothing_is_sniffed(client):
    for body in (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
        b"<!doctype html><script>alert(1)</script>",
    ):
        answer = client.post("/v1/predict", files={"f": ("a.png", body)})
        assert answer.status_code == 415 and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_bad_query_is_named(client, picture):
    for query in ("top=0", "top=x", "cam=maybe"):
        answer = client.post(f"/v1/predict?{query}", content=picture, headers=RAW)
        assert answer.status_code == 422 and query.partition("=")[0] in answer.json()["detail"]
