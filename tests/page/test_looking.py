"""Routes that only look."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from shoebox.page.likeness import training_rows
from shoebox.page.looking import HEAT_SIDE, coarse
from shoebox.page.pictures import Owned, run_pictures


def test_examples_can_be_seen_and_asked_about(client_of, run):
    client = client_of()
    told = client.get("/v1/examples").json()
    assert len(told["pictures"]) == 8 and "validation" in told["note"]
    row = told["pictures"][0]["row"]
    assert run_pictures(run)[row].part == "val"
    thumb, large = client.get(f"/v1/pictures/{row}"), client.get(f"/v1/pictures/{row}/large")
    assert thumb.headers["content-type"] == "image/webp" and large.headers["content-type"] == "image/png"
    answer = client.post("/v1/predict", content=large.content, headers={"content-type": "image/png"}).json()
    file = run_pictures(run)[row].file
    again = client.post("/v1/predict", content=file.read_bytes(), headers={"content-type": "image/jpeg"}).json()
    assert answer["predictions"][0]["top"] == again["predictions"][0]["top"], "the example has the picture's pixels"


def test_an_answer_is_explained(client_of, run):
    client = client_of()
    pictures = run_pictures(run)
    number = next(row for row, one in enumerate(pictures) if one.part == "train")
    told = client.post("/v1/explain", content=pictures[number].file.read_bytes()).json()
    assert len(told["heats"]) == 3
    assert all(len(base64.b64decode(heat["heat"])) == 16 * 16 for heat in told["heats"])
    assert told["near"][0]["row"] == number and told["near"][0]["likeness"] == pytest.approx(1, abs=1e-3)
    assert {pictures[one["row"]].part for one in told["near"]} == {"train"}


def test_what_is_no_picture_is_not_explained(client_of):
    client = client_of()
    for data, status in ((b"", 400), (b"<svg onload=alert(1)>", 422)):
        answer = client.post("/v1/explain", content=data)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"


def test_what_is_not_there_is_said_so_and_no_path_of_a_client_is_opened(client_of):
    client = client_of()
    for path in ("/v1/pictures/36", "/v1/pictures/36/large", "/report", "/static/..%2fmount.py"):
        assert client.get(path).status_code == 404, path
    for path in ("/v1/pictures/..%2f..%2fval.npz", "/v1/pictures/-1"):
        assert client.get(path).status_code in (404, 422), path


def test_the_report_is_shut_off_from_the_server(client_of, run):
    page = run / "report.html"
    page.write_text("<script>fetch('/v1/jobs')</script>")
    try:
        answer = client_of().get("/report")
    finally:
        page.unlink()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;") and "allow-same-origin" not in policy and "connect" not in policy


def test_a_heat_map_is_sent_as_few_bytes():
    heat = np.zeros((96, 96), np.float32)
    heat[:, 48:] = 1
    sent = np.frombuffer(base64.b64decode(coarse(heat)), np.uint8).reshape(HEAT_SIDE, HEAT_SIDE)
    assert (sent[:, : HEAT_SIDE // 2] == 0).all() and (sent[:, HEAT_SIDE // 2 :] == 255).all()
    with Image.open(io.BytesIO(b"P5 2 2 255\n" + base64.b64decode(coarse(np.eye(2, dtype=np.float32))))) as image:
        assert image.getpixel((0, 0)) == 255


def test_pictures_to_compare_with_are_the_training_part(tmp_path):
    pictures = tuple(Owned(tmp_path, label, part) for label in ("a", "b", "") for part in ("train", "val"))
    assert sorted(training_rows(pictures)) == [0, 2] and training_rows(()) == []
