import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoebox.data import jpeg
from shoebox.data.jpeg import decode_ordinary
from shoebox.data.picture import Unreadable, decode, load
from shoebox.data.preprocess import Preprocess

pytest.importorskip("simplejpeg")

SMOOTH = np.add.outer(np.arange(45), np.arange(61))[..., None] * np.array([1, 2, 1]) % 256
NOISE = np.random.default_rng(0).integers(0, 256, SMOOTH.shape)
PIXELS = ((SMOOTH + NOISE // 4) % 256).astype(np.uint8)


def saved(pixels: np.ndarray = PIXELS, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def ordinary(data: bytes, shorter_below: int | None = None, most_pixels: int = 1 << 20) -> np.ndarray | None:
    return decode_ordinary(data, shorter_below=shorter_below, most_pixels=most_pixels)


@settings(max_examples=40, deadline=None)
@given(
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    mode=st.sampled_from(["RGB", "L"]),
    height=st.integers(1, 45),
    width=st.integers(1, 61),
)
def test_pixels_are_pillows(
    quality: int, subsampling: int, progressive: bool, mode: str, height: int, width: int
) -> None:
    cut = np.ascontiguousarray(PIXELS[:height, :width])
    data = saved(cut, mode, quality=quality, subsampling=subsampling, progressive=progressive)
    found = ordinary(data)
    assert found is not None and found.flags.writeable
    np.testing.assert_array_equal(found, np.array(Image.open(io.BytesIO(data)).convert("RGB")))


def test_what_is_out_of_the_ordinary_is_left_to_pillow() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    assert ordinary(saved(exif=turned.tobytes())) is None
    assert ordinary(saved(mode="CMYK")) is None
    assert ordinary(saved()[:-40]) is None
    assert ordinary(saved(), shorter_below=45) is None
    assert ordinary(saved(), shorter_below=46) is not None
    assert ordinary(saved(), most_pixels=45 * 61 - 1) is None
    assert ordinary(b"\xff\xd8\xff and nothing") is None


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_has_the_same_fate_without_it(data: st.DataObject) -> None:
    whole = bytearray(saved(quality=data.draw(st.integers(5, 95))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    bytes_ = bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "simplejpeg", None)
        without = fate(bytes_)
    assert fate(bytes_) == without


def fate(data: bytes) -> object:
    try:
        return decode(data).tobytes()
    except Unreadable as e:
        return e.reason


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_a_picture_is_stored_alike_without_it(fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess(store=32, size=32, fit=fit)
    quick = load(saved(), preprocess)
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    np.testing.assert_array_equal(quick, load(saved(), preprocess))
