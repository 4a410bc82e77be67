from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import fisher_exact, hypergeom

from shoebox.data.index import ImageIndex
from shoebox.data.pack import pack
from shoebox.data.picture import Unreadable, pixel_count
from shoebox.data.preprocess import Preprocess
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.slices import _fisher, slices

MEAN = (0.5, 0.5, 0.5)


@pytest.fixture
def scored(tmp_path):
    """scored(wrong): 200 pictures of two classes from two cameras, 60 of them dark, and which are misclassified."""

    def make(wrong):
        random = np.random.default_rng(0)
        paths, dark = [], np.arange(200) < 60
        for i in range(200):
            path = Path(f"test/{'ab'[i % 2]}/{'left' if i % 3 else 'right'}/{i}.{'png' if i % 4 else 'bmp'}")
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 40, (12, 12, 3)) + (0 if dark[i] else 150)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / path)
            paths.append(path.as_posix())
        labels = np.arange(200) % 2
        said = np.where(wrong(dark, random), 1 - labels, labels)
        index = ImageIndex(tmp_path, tuple(paths), labels, ("a", "b"), np.full(200, "test"))
        packed = pack(index, Preprocess(12, 12, mean=MEAN, std=MEAN), cache=tmp_path)
        features = np.eye(4)[labels].repeat(2, axis=1) + random.normal(size=(200, 8)) * 0.1
        logits = np.eye(2)[said].astype(np.float32)
        return Evaluation(tuple(paths), labels, logits, ("a", "b"), features.astype(np.float16), "test"), packed

    return make


def test_the_slice_that_is_worse_is_named(scored):
    found = slices(*scored(lambda dark, random: dark & (random.random(200) < 0.6)))
    worse = [one for one in found if one.worse]
    assert worse and worse[0] is found[0]
    assert {one.kind for one in worse} == {"brightness"}
    assert {one.name.split()[0] for one in worse} <= {"darkest", "dark"}
    assert worse[0].high < worse[0].rest
    kinds = {one.kind for one in found}
    assert kinds == {"brightness", "sharpness", "file type", "folder", "look-alikes"}  # one size only
    assert {one.name for one in found if one.kind == "folder"} == {"left", "right"}
    assert {one.name for one in found if one.kind == "file type"} == {"png", "bmp"}
    assert sum(one.pictures for one in found if one.kind == "brightness") == 200


def test_mistakes_at_random_name_no_slice(scored):
    assert not any(one.worse for one in slices(*scored(lambda dark, random: random.random(200) < 0.3)))


def test_nothing_wrong_nothing_worse_and_without_pictures_fewer_kinds(scored):
    evaluation, _ = scored(lambda dark, random: np.zeros(200, bool))
    found = slices(evaluation)
    assert {one.kind for one in found} == {"file type", "folder", "look-alikes"}
    assert all(one.p == one.accuracy == 1 and one.high == pytest.approx(1) for one in found)
    empty = Evaluation((), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), ("a", "b"))
    assert slices(empty) == []


def test_the_test_equals_scipys():
    expected = fisher_exact([[12, 18], [30, 140]], alternative="greater").pvalue
    assert _fisher(12, 30, 42, 200) == pytest.approx(expected)
    random = np.random.default_rng(0)
    for _ in range(200):
        everything = int(random.integers(50, 20_000))
        count, wrong = (int(number) for number in random.integers(1, everything, 2))
        mistakes = int(random.hypergeometric(wrong, everything - wrong, count)) + int(random.integers(-2, 3))
        mistakes = max(mistakes, 0)
        exact = hypergeom.sf(mistakes - 1, everything, wrong, count)
        assert _fisher(mistakes, count, wrong, everything) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_pixels_are_counted_from_the_header(tmp_path, make_picture):
    assert pixel_count(make_picture(tmp_path / "a.jpg", size=(20, 16))) == 320
    whole = make_picture(tmp_path / "b.png", size=(30, 10)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:60])
    assert pixel_count(tmp_path / "cut.png") == 300
    (tmp_path / "no.png").write_text("<html>")
    for path in (tmp_path / "no.png", tmp_path, tmp_path / "none.png"):
        with pytest.raises(Unreadable):
            pixel_count(path)
