"""Near-duplicates: found whatever was done to a picture, and none where there is none."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from shoebox.data import twins as twins_module
from shoebox.data.likeness import grey_thumbs, likeness
from shoebox.data.twins import NEAR, candidates, find_twins, united


def scene(seed, size=(96, 72)):
    """A picture with structure at all scales, as photographs have: noise whose power falls with frequency squared."""
    rng = np.random.default_rng(seed)
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width) * width)
    waves = np.fft.fft2(rng.normal(size=(3, height, width))) / np.maximum(frequency, 1)
    field = np.fft.ifft2(waves).real
    field = 128 + 45 * (field - field.mean()) / field.std()
    return Image.fromarray(field.transpose(1, 2, 0).clip(0, 255).astype(np.uint8))


def saved(image, quality=90):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


CHANGES = {
    "copy": lambda p: p,
    "quality 30": lambda p: saved(p, 30),
    "60 %": lambda p: saved(p.resize((58, 43))),
    "flip": lambda p: saved(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "crop": lambda p: saved(p.crop((0, 3, 92, 72))),
    "brighter": lambda p: saved(ImageEnhance.Brightness(p).enhance(1.2)),
    "darker": lambda p: saved(ImageEnhance.Brightness(p).enhance(0.8)),
}


def thumbs(images):
    return np.concatenate([grey_thumbs(np.asarray(image.resize((64, 64)))[None]) for image in images])


def test_every_change_is_found_and_nothing_else():
    originals = [scene(seed) for seed in range(60)]
    everything = thumbs(originals + [change(p) for change in CHANGES.values() for p in originals])
    twins = find_twins(everything)
    found = {tuple(pair) for pair in twins.pairs.tolist()}
    assert all(a % 60 == b % 60 for a, b in found)
    for number, change in enumerate(CHANGES, 1):
        recall = np.mean([(row, row + 60 * number) in found for row in range(60)])
        assert recall >= (0.98 if change in ("copy", "quality 30") else 0.9), change
    assert len(np.unique(twins.clusters())) == 60
    mirrored = [i for i, (a, b) in enumerate(twins.pairs.tolist()) if a < 60 and 240 <= b < 300]
    assert twins.flipped[mirrored].all()


def test_blank_pictures_are_twins_only_if_they_are_equal():
    blank = np.stack([np.full((32, 32), level, np.uint8) for level in (10, 10, 200, 201)])
    assert find_twins(blank).pairs.tolist() == [[0, 1]]


def test_pictures_that_are_alike_by_nature_need_more(digits):
    twins = find_twins(digits[0], digits[1])
    assert twins.threshold > NEAR
    # A few pairs of small drawings are the same but for noise; most digits of a kind must not be.
    assert len(twins.pairs) < 0.05 * len(digits[0])


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = np.rint(data.images * 255 / 16).astype(np.uint8)
    return grey_thumbs(np.repeat(pictures[..., None], 3, -1)), data.target.astype(np.int64)


def test_few_or_no_pictures():
    assert len(find_twins(np.empty((0, 32, 32), np.uint8)).pairs) == 0
    for count in (1, 2):
        assert not len(find_twins(thumbs([scene(i) for i in range(count)])).pairs)


def test_likeness_is_one_for_itself_and_near_zero_for_others():
    pictures = thumbs([scene(i) for i in range(200)])
    assert likeness(pictures, pictures).min() > 0.999
    assert np.abs(likeness(pictures[:100], pictures[100:])).mean() < 0.25


def test_the_work_grows_with_the_number_of_pictures_and_not_with_its_square(monkeypatch):
    looked_at = []

    def counting(plain, mirrored, first, second):
        looked_at.append(len(first))
        return np.zeros(len(first), np.float32)

    monkeypatch.setattr(twins_module, "_cosines", counting)
    work = []
    for count in (2_000, 16_000):
        vectors = np.random.default_rng(0).normal(size=(2 * count, 24)).astype(np.float32)
        candidates(vectors[:count], vectors[count:])
        work.append(sum(looked_at))
        looked_at.clear()
    assert work[1] < 8 * 1.6 * work[0]


def test_clusters_are_the_connected_parts():
    assert united(6, np.array([[4, 5], [1, 4], [2, 3]])).tolist() == [0, 1, 2, 2, 1, 1]


def framed(image):
    """A faint picture in a strong frame."""
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[4:60, 4:60] = 110 + np.asarray(image.resize((56, 56))) // 16
    return Image.fromarray(pixels)


def test_a_frame_in_common_is_not_one_picture_under_two_labels():
    everything = [*(scene(i) for i in range(60)), framed(scene(60)), framed(scene(61)), saved(scene(0), 60)]
    every = thumbs(everything)
    assert find_twins(every).pairs.tolist() == [[0, 62], [60, 61]], "the frame fools the likeness"
    assert find_twins(every, np.arange(63)).pairs.tolist() == [[0, 62]]
