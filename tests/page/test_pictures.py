"""The run's pictures, by number."""

import io
import json

import numpy as np
from PIL import Image

from shoebox.data.picture import decode
from shoebox.page.pictures import Owned, examples, run_pictures, small, whole


def test_a_runs_pictures_are_those_of_its_split(run, made):
    pictures = run_pictures(run)
    assert len(pictures) == 36 and {one.part for one in pictures} == {"train", "val"}
    assert all(one.file.is_file() for one in pictures) and {one.label for one in pictures} == {
        "<img src=x onerror=alert(1)>",
        "=cat",
        "dog",
    }


def test_a_split_that_points_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"root": str(tmp_path / "data")}))
    (tmp_path / "split.csv").write_text("path,label,part\n../secret.png,a,val\n/etc/passwd,a,val\na/1.png,a,val\n")
    assert [one.file for one in run_pictures(tmp_path)] == [tmp_path / "data" / "a/1.png"]


def test_a_record_that_is_damaged_has_no_pictures(tmp_path):
    assert run_pictures(tmp_path) == ()
    (tmp_path / "split.csv").write_text("path,label\na,b\n")
    (tmp_path / "run.json").write_text("{")
    assert run_pictures(tmp_path) == ()


def test_examples_are_of_every_class_and_not_learnt_from(tmp_path, make_picture):
    pictures = tuple(
        Owned(make_picture(tmp_path / f"{label}{part}{n}.png"), label, part)
        for label in "abc"
        for part in ("train", "val")
        for n in range(4)
    )
    rows = examples(pictures, 6)
    assert [pictures[row].label for row in rows] == ["a", "b", "c", "a", "b", "c"] and len(set(rows)) == 6
    assert {pictures[row].part for row in rows} == {"val"}
    assert len(examples(pictures, 2)) == 2
    assert examples(tuple(one for one in pictures if one.part == "train")) == []


def test_examples_that_are_gone_are_left_out(tmp_path, make_picture):
    there = Owned(make_picture(tmp_path / "1.png"), "a", "test")
    assert examples((Owned(tmp_path / "0.png", "a", "test"), there)) == [1]


def test_a_picture_is_sent_small_or_pixel_by_pixel(tmp_path, make_picture):
    path = make_picture(tmp_path / "a.jpg", (300, 200))
    with Image.open(io.BytesIO(small(path, 160))) as image:
        assert image.format == "WEBP" and image.size == (160, 107)
    with Image.open(io.BytesIO(whole(path))) as image:
        assert image.format == "PNG" and np.array_equal(np.asarray(image), decode(path))
