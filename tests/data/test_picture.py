import io
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoebox.data.picture import Unreadable, decode, load
from shoebox.data.preprocess import Preprocess
from shoebox.data.signature import sniff

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
HALVES = np.zeros((40, 80, 3), np.uint8)
HALVES[:, :40] = 255


def encoded(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, format: str) -> None:
    data = encoded(NOISE, format)
    path = tmp_path / "picture"
    path.write_bytes(data)
    for source in (data, path):
        pixels = decode(source)
        assert pixels.dtype == np.uint8 and pixels.flags.writeable
        np.testing.assert_array_equal(pixels, NOISE)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_lossy_formats_come_back_nearly(format: str) -> None:
    smooth = np.asarray(Image.fromarray(NOISE).resize((6, 4)).resize((60, 40), Image.Resampling.BICUBIC))
    assert np.abs(decode(encoded(smooth, format)).astype(int) - smooth).mean() < 12


def test_at_least_scales_a_large_jpeg_down_but_never_below() -> None:
    data = encoded(np.zeros((400, 600, 3), np.uint8), "JPEG")
    assert decode(data).shape == (400, 600, 3)
    assert decode(data, at_least=100).shape == (100, 150, 3)
    assert decode(data, at_least=101).shape == (200, 300, 3)
    assert decode(data, at_least=390).shape == (400, 600, 3)


@given(width=st.integers(1, 300), height=st.integers(1, 300), at_least=st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_at_least_holds_for_every_size(width: int, height: int, at_least: int) -> None:
    got = decode(encoded(np.zeros((height, width, 3), np.uint8), "JPEG"), at_least=at_least)
    assert min(got.shape[:2]) >= min(width, height, at_least)
    assert abs(got.shape[1] / got.shape[0] / (width / height) - 1) < 0.5 or min(width, height) < 2 * at_least


def test_squash_shows_all_of_the_picture() -> None:
    got = load(encoded(HALVES, "PNG"), Preprocess(store=20, size=20))
    assert got.shape == (20, 20, 3)
    assert got[:, :8].min() > 250 and got[:, 12:].max() < 5


def test_crop_takes_the_centre_square() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200
    got = load(encoded(wide, "PNG"), Preprocess(store=20, size=20, fit="crop"))
    assert (got == 200).all()


def test_pad_keeps_the_shape_between_grey_bars() -> None:
    got = load(encoded(HALVES, "PNG"), Preprocess(store=20, size=20, fit="pad"))
    assert (got[:5] == 128).all() and (got[15:] == 128).all()
    assert got[6:14, :8].min() > 250 and got[6:14, 12:].max() < 5


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
def test_shrinking_averages_instead_of_picking(interpolation: Any) -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    got = load(encoded(checkers, "PNG"), Preprocess(store=8, size=8, interpolation=interpolation))
    assert np.abs(got.astype(int) - 128).max() < 10


def test_a_picture_of_the_stored_size_is_not_resampled() -> None:
    pixels = NOISE[:32, :32]
    np.testing.assert_array_equal(load(encoded(pixels, "PNG"), Preprocess(store=32, size=32)), pixels)


def test_the_file_and_the_reason_are_in_the_error_and_it_survives_pickling(tmp_path: Path) -> None:
    import pickle

    path = tmp_path / "a\nb.jpg"
    path.write_bytes(b"hello")
    with pytest.raises(Unreadable) as caught:
        decode(path)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - its own bytes; workers send errors this way
    assert error.path == str(path) and "plain text" in error.reason
    assert "\n" not in str(error) and "a\\nb.jpg" in str(error)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        decode(tmp_path / "none.jpg")


def test_threads_get_what_one_thread_gets(tmp_path: Path) -> None:
    files = []
    for i, format in enumerate(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF"] * 4):
        files.append(tmp_path / str(i))
        files[-1].write_bytes(encoded(np.roll(NOISE, i, 0), format))
    expected = [decode(f) for f in files]
    wrong: list[Path] = []

    def work() -> None:
        for file, pixels in zip(files, expected, strict=True):
            if not np.array_equal(decode(file), pixels):
                wrong.append(file)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pillow_s_warnings_do_not_reach_anyone(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(encoded(NOISE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\3\0\xff\xff\xff\xff"))
    code = f"from shoebox.data.picture import decode; from pathlib import Path; decode(Path({str(broken)!r}))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_any_bytes_are_a_picture_or_unreadable(data: bytes) -> None:
    sniff(data)
    try:
        assert decode(data).shape[2] == 3
    except Unreadable as e:
        assert e.reason and "\n" not in e.reason


@given(format=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"]), data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_pictures_never_crash(format: str, data: st.DataObject) -> None:
    damaged = bytearray(encoded(NOISE[:16, :16], format))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(damaged)).shape[2] == 3
    except Unreadable as e:
        assert e.reason


def test_make_folder_makes_classes_that_differ(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"cat": 2, "dog": 2})
    cat, dog = (decode(root / name / "0.png").astype(int).mean((0, 1)) for name in ("cat", "dog"))
    assert np.abs(cat - dog).max() > 20
