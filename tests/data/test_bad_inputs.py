"""The cases of BAD_INPUTS.md that concern reading pictures and paths, by their numbers, each generated on the spot.

26 is held here for the split's CSV and 34 for the index; predictions (26), packs (34), HTML (27) and sorting (28, 36,
39, 40) are held beside the code that does those.
"""

import io
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shoebox.base.errors import ShoeboxError
from shoebox.data import picture
from shoebox.data.assembly import Row, assemble
from shoebox.data.index import ImageIndex, Skipped
from shoebox.data.picture import Unreadable, decode, load
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.data.split import read_split, split, write_split

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

Make = Callable[..., Path]
NOISE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
FLAT = np.full((16, 16, 3), (200, 100, 50), np.uint8)


def encoded(pixels: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body


def reason(source: bytes | Path) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(source)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def only(index: ImageIndex) -> Skipped:
    (skipped,) = index.skipped
    return skipped


# Pictures


def test_case_01_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert reason(tmp_path / "a.jpg") == reason(b"") == "the file is empty"


@pytest.mark.parametrize("tenths", range(1, 10))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 20}], ids=["plain", "progressive", "small"])
def test_case_02_cut_jpeg(tenths: int, options: dict[str, Any]) -> None:
    data = encoded(NOISE, "JPEG", **options)
    assert reason(data[: len(data) * tenths // 10])
    with pytest.raises(Unreadable):
        decode(data[: len(data) * tenths // 10], at_least=16)


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
def test_case_02_cut_others(format: str) -> None:
    data = encoded(NOISE, format)
    for tenths in range(1, 10):
        assert reason(data[: len(data) * tenths // 10])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_case_03_one_flipped_byte(format: str) -> None:
    data = encoded(NOISE[:16, :16], format)
    for position in range(0, len(data), 3):
        flipped = data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]
        try:
            assert decode(flipped).shape[2] == 3
        except Unreadable as e:
            assert e.reason


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (255, 255, 255), (0, 0, 0), (200, 100, 50)])
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_case_04_cmyk(colour: tuple[int, int, int], format: str) -> None:
    inks = Image.new("RGB", (16, 16), colour).convert("CMYK")
    assert np.abs(decode(encoded(inks, format)).astype(int) - colour).max() <= 3


def test_case_04_ycck() -> None:
    """Photoshop's kind: inks as Y Cb Cr and black, stored inverted, marked transform 2 by Adobe's segment."""
    cyan, magenta, yellow = 40, 200, 90
    bright = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    planes = (bright, 128 + (yellow - bright) / 1.772, 128 + (cyan - bright) / 1.402, 255)  # no black ink
    # Pillow inverts what it writes as CMYK and says transform 0; with 2, the same bytes are YCCK.
    data = encoded(Image.new("CMYK", (16, 16), tuple(255 - round(plane) for plane in planes)), "JPEG", quality=98)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    got = decode(data[:at] + b"\2" + data[at + 1 :])
    assert np.abs(got.astype(int) - (255 - cyan, 255 - magenta, 255 - yellow)).max() <= 4


def test_case_05_sixteen_bit_png_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(decode(encoded(ramp, "PNG"))[..., 0].ravel(), np.arange(256))
    line = b"".join(b"\0" + b"".join(struct.pack(">HHH", x * 257, 65535, 0) for x in range(256)) for _ in range(2))
    colour = decode(png(256, 2, line, depth=16))
    np.testing.assert_array_equal(colour[0, :, 0], np.arange(256))
    assert (colour[..., 1] == 255).all() and (colour[..., 2] == 0).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_case_06_one_bit(format: str) -> None:
    bits = np.indices((8, 8)).sum(0) % 2 == 0
    np.testing.assert_array_equal(decode(encoded(bits, format)), np.repeat(bits[..., None] * np.uint8(255), 3, 2))


def test_case_07_palette_with_alpha_lies_on_white() -> None:
    entries = Image.new("P", (4, 1))
    entries.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    entries.putdata([0, 1, 2, 3])
    got = decode(encoded(entries, "PNG", transparency=bytes([255, 128, 0, 255])))
    assert got[0].tolist() == [[255, 0, 0], [127, 255, 127], [255, 255, 255], [9, 9, 9]]
    assert decode(encoded(entries, "GIF", transparency=2))[0, 2].tolist() == [255, 255, 255]
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert (decode(encoded(clear, "WEBP", lossless=True)) == 255).all()
    key = png(2, 1, b"\0\1\2\3\4\5\6", chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert decode(key)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_case_08_grey_with_alpha() -> None:
    grey = Image.merge("LA", (Image.new("L", (2, 2), 100), Image.new("L", (2, 2), 128)))
    assert np.abs(decode(encoded(grey, "PNG")).astype(int) - 177).max() <= 1


def test_case_09_float_and_long_tiff() -> None:
    unit = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    np.testing.assert_array_equal(decode(encoded(unit, "TIFF"))[..., 0].ravel(), np.arange(256))
    half = decode(encoded(unit / 2, "TIFF"))
    assert half.max() == 128, "within 0..1 nothing is stretched"
    for values in (unit * 9000 - 500, (unit * 1e6).astype(np.int32)):
        got = decode(encoded(values, "TIFF"))
        assert (got.min(), got.max()) == (0, 255) and (np.diff(got[..., 0].ravel().astype(int)) >= 0).all()
    holes = unit.copy()
    holes[0, :3] = [np.nan, np.inf, -np.inf]
    assert (decode(encoded(holes, "TIFF"))[0, :3] <= 3).all()
    assert (decode(encoded(np.full((4, 4), 7, np.int32), "TIFF")) == 0).all()
    assert "finite" in reason(encoded(np.full((4, 4), np.nan, np.float32), "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_case_10_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (16, 16), c) for c in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    got = decode(data)
    assert got.shape == (16, 16, 3) and np.abs(got.astype(int) - (200, 0, 0)).max() < 12


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_case_11_exif_orientation(format: str, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # How EXIF says the upright picture was stored: row 0 of the file is its top, right, …, side.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98}, "AVIF": {"quality": 98}}.get(format, {})
    got = decode(encoded(np.ascontiguousarray(stored), format, exif=exif, **lossless))
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).mean() < 10  # colours bleed where lossy formats halve them


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 20,
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0\0\0",
        b"junk" * 40,
    ],
)
def test_case_12_malformed_metadata(exif: bytes) -> None:
    plain = decode(encoded(FLAT, "JPEG"))
    np.testing.assert_array_equal(decode(encoded(FLAT, "JPEG", exif=exif)), plain)
    np.testing.assert_array_equal(decode(encoded(FLAT, "JPEG", icc_profile=exif)), plain)
    np.testing.assert_array_equal(decode(encoded(FLAT, "PNG", exif=exif, icc_profile=exif)), FLAT)


def resized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encoded(FLAT, "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        resized_jpeg(65535, 65535),
        png(65535, 65535, b""),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\2",
        b"P6 65535 65535 255\n",
        b"BM" + struct.pack("<IHHI", 60, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 65535, 65535, 1, 24, *[0] * 6),
        png(12000, 9000, b""),
    ],
    ids=["jpeg", "png", "gif", "ppm", "bmp", "png above the limit, below Pillow's"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_case_13_huge_header(data: bytes) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "pixels" in reason(data)
    with pytest.raises(Unreadable, match="pixels"):
        load(data, Preprocess(store=32, size=32))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_case_13_a_large_photo_is_still_taken_small() -> None:
    data = encoded(np.zeros((9000, 10000), np.uint8), "JPEG")
    assert "10000 × 9000 pixels" in reason(data)
    assert load(data, Preprocess(store=32, size=32)).shape == (32, 32, 3)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_case_14_png_text_bomb(kind: bytes) -> None:
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    start = b"k\0\1\0\0\0" if kind == b"iTXt" else b"k\0\0"
    data = png(4, 4, b"\0" * 52, chunk(kind, start + bomb))
    tracemalloc.start()
    try:
        assert "too large" in reason(data)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_case_15_tiff_directory_loop() -> None:
    data = bytearray(encoded(NOISE, "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)  # the next directory is this one
    began = time.monotonic()
    np.testing.assert_array_equal(decode(bytes(data)), NOISE)  # only the first directory is followed
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_case_16_extreme_shapes(size: tuple[int, int], format: str, fit: Any) -> None:
    data = encoded(Image.new("RGB", size, (200, 100, 50)), format)
    assert decode(data).shape == (size[1], size[0], 3)
    got = load(data, Preprocess(store=16, size=16, fit=fit))
    assert got.shape == (16, 16, 3) and np.abs(got[7, 7].astype(int) - (200, 100, 50)).max() < 40


def test_case_17_wrong_extension(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"cat": 2, "dog": 1})
    (root / "cat/0.png").rename(root / "cat/0.jpg")
    (root / "cat/1.png").rename(root / "cat/1.docx")
    index = open_source(root)
    assert index.paths == ("cat/0.jpg", "cat/1.docx", "dog/0.png")
    assert decode(index.file(0)).shape == decode(index.file(1)).shape == (16, 20, 3)


def test_case_18_html_named_jpg(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("\ufeff \n<!DOCTYPE HTML>\n<html>404")
    assert "an HTML page" in reason(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'<?xml version="1.0"?>\n<!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<svg/>", "SVG"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + b"\0" * 30, "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_case_19_drawings_and_documents(data: bytes, kind: str) -> None:
    assert kind in reason(data)


def test_case_20_avif_and_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.abs(decode(encoded(FLAT, "AVIF")).astype(int) - FLAT).max() < 12
    heic = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "pillow-heif" in reason(heic) and "pip install" in reason(heic)


def test_case_20_heic_with_its_decoder() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(FLAT)).save(file, quality=95)
    assert np.abs(decode(file.getvalue()).astype(int) - FLAT).max() < 12


def test_case_21_polyglot(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("../evil.txt", "evil")
    path = tmp_path / "cat" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(encoded(FLAT, "JPEG") + packed.getvalue())
    assert zipfile.is_zipfile(path)
    np.testing.assert_array_equal(decode(path), decode(encoded(FLAT, "JPEG")))
    assert open_source(tmp_path).paths == ("cat/a.jpg",)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.jpg", "cat"]


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError(), AssertionError("x"), struct.error("y"), SystemError()]
)
def test_case_22_a_decoder_that_fails_in_any_way(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(picture.Image, "open", fail)
    assert reason(encoded(FLAT, "PNG"))


def test_case_22_a_jpeg_that_would_keep_the_decoder_busy() -> None:
    data = encoded(NOISE, "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    assert "scans" in reason(data[:at] + data[at:-2] * 500 + data[-2:])


# Paths


def test_case_23_unicode_names_stay_distinct(make_picture: Make, tmp_path: Path) -> None:
    names = ["caf\u00e9.png", "cafe\u0301.png", "日本語.png", "🐈‍⬛.png", "\u202egnp.png"]
    for name in names:
        make_picture(tmp_path / "cat" / name)
    index = open_source(tmp_path)
    assert {path.removeprefix("cat/") for path in index.paths} == set(names)
    write_split(split(index), tmp_path / "split.csv")
    assert len(read_split(index, tmp_path / "split.csv")) == 5


def test_case_24_newline_quote_and_dash(make_picture: Make, tmp_path: Path) -> None:
    names = ["a\nb.png", 'quote".png', "'.png", "-rf.png", "a,b.png", "\x1b[31m.png"]
    for name in names:
        make_picture(tmp_path / "cat" / name)
    bad = tmp_path / "cat" / "bad\n\x1b[31m.jpg"
    bad.write_text("no picture")
    index = open_source(tmp_path)
    assert {path.removeprefix("cat/") for path in index.paths} == {*names, bad.name}
    with pytest.raises(Unreadable) as caught:
        decode(bad)
    assert caught.value.path == str(bad) and str(caught.value).isprintable()
    assert str(Skipped(bad.name, "x")) == r"bad\n\x1b[31m.jpg: x"
    write_split(split(index), tmp_path / "split.csv")
    assert len(read_split(index, tmp_path / "split.csv")) == 7


def test_case_25_names_that_are_no_utf8(make_picture: Make, tmp_path: Path) -> None:
    name = b"\xff\xfe caf\xe9.png"
    (tmp_path / "cat").mkdir()
    try:
        with open(os.fsencode(tmp_path / "cat") + b"/" + name, "wb") as file:  # noqa: PTH123 - a Path holds no bytes
            file.write(encoded(FLAT, "PNG"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    index = open_source(tmp_path)
    assert os.fsencode(index.paths[0]) == b"cat/" + name
    np.testing.assert_array_equal(decode(index.file(0)), FLAT)
    assert index.fingerprint()
    write_split(split(index), tmp_path / "split.csv")
    assert name in (tmp_path / "split.csv").read_bytes()
    assert read_split(index, tmp_path / "split.csv").part.tolist() == ["train"]


def test_case_26_formula_in_a_name(make_picture: Make, tmp_path: Path) -> None:
    for name in ("=cmd()", "+1", "-1", "@x"):
        make_picture(tmp_path / name / "a.png")
    index = open_source(tmp_path)
    write_split(split(index), tmp_path / "split.csv")
    for line in (tmp_path / "split.csv").read_text().splitlines()[1:]:
        assert all(cell[0] not in "=+-@" for cell in line.split(","))
    assert read_split(index, tmp_path / "split.csv").part.tolist() == ["train"] * 4


@pytest.mark.skipif(os.name == "nt", reason="needs folders relative to a handle")
def test_case_29_path_over_4096_bytes(make_picture: Make, tmp_path: Path) -> None:
    make_picture(tmp_path / "cat" / "a.png")
    handle = os.open(tmp_path / "cat", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=handle)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    index = open_source(tmp_path)
    assert index.paths == ("cat/a.png",) and "longer than 4,095 bytes" in only(index).reason


def test_case_30_symlink_loops_end(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"cat": 1, "dog": 1})
    (root / "cat/up").symlink_to("..")
    (root / "dog/cats").symlink_to("../cat")
    (root / "cat/self.png").symlink_to("self.png")
    for follow in (False, True):
        index = open_source(root, follow_links=follow)
        assert index.paths == ("cat/0.png", "dog/0.png")
        assert {s.path for s in index.skipped} == {"cat/up", "dog/cats", "cat/self.png"}


def test_case_31_symlink_out_of_the_root(make_folder: Make, make_picture: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"cat": 1, "dog": 1})
    outside = make_picture(tmp_path / "out/secret.png")
    (root / "cat/file.png").symlink_to(outside)
    (root / "bird").symlink_to(outside.parent)
    (root / "dog/inside.png").symlink_to("../cat/0.png")
    index = open_source(root)
    assert index.paths == ("cat/0.png", "dog/0.png", "dog/inside.png") and index.classes == ("cat", "dog")
    assert {s.path for s in index.skipped} == {"bird", "cat/file.png"}
    asked = open_source(root, follow_links=True)
    assert asked.classes == ("bird", "cat", "dog") and len(asked) == 5 and not asked.skipped


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_case_32_fifo_socket_and_device_never_block(make_picture: Make, tmp_path: Path, monkeypatch: Any) -> None:
    make_picture(tmp_path / "cat" / "a.png")
    os.mkfifo(tmp_path / "cat" / "fifo.jpg")
    monkeypatch.chdir(tmp_path / "cat")  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        (tmp_path / "cat" / "device.jpg").symlink_to("/dev/zero")
        done: list[object] = []

        def work() -> None:
            index = open_source(tmp_path)
            done.append(sorted(s.path for s in index.skipped))
            done.append([reason(tmp_path / path) for path in done[0]])  # type: ignore[attr-defined]

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(20)
        assert done == [["cat/device.jpg", "cat/fifo.jpg", "cat/socket.jpg"], ["not a regular file"] * 3]
    with pytest.raises(ShoeboxError, match="neither a file nor a folder"):
        open_source(tmp_path / "cat" / "fifo.jpg")


def test_case_33_unreadable_file_and_folder(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path, {"cat": 1, "dog": 1, "dog/secret": 1})
    scan, opened = os.scandir, os.open

    def closed(path: Any, *args: Any, **options: Any) -> Any:
        # Not by chmod: the superuser, who runs tests in many a container, reads everything.
        if os.fspath(path).endswith(("secret", "cat/0.png")):
            raise PermissionError(13, "Permission denied", path)
        return (opened if args else scan)(path, *args, **options)

    monkeypatch.setattr(os, "scandir", closed)
    monkeypatch.setattr(os, "open", closed)
    index = open_source(root)
    assert index.paths == ("cat/0.png", "dog/0.png")
    assert str(only(index)) == "dog/secret: the folder cannot be read (Permission denied)"
    assert reason(index.file(0)) == "Permission denied"


def test_case_34_deleted_or_changed_meanwhile(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"cat": 2, "dog": 2}))
    before = index.fingerprint()
    index.file(0).write_bytes(encoded(NOISE, "PNG"))
    changed = index.fingerprint()
    index.file(1).unlink()
    assert len({before, changed, index.fingerprint()}) == 3
    assert "No such file" in reason(index.file(1))


def test_case_35_names_that_differ_in_case_only(make_picture: Make, tmp_path: Path) -> None:
    for name in ("cat/A.png", "cat/a.png", "Cat/a.png", "dog/a.png"):
        make_picture(tmp_path / name)
    index = open_source(tmp_path)
    if len(index) < 4:
        pytest.skip("this file system does not tell case apart")
    assert index.classes == ("Cat", "cat", "dog")
    assert any("'Cat', 'cat' differ only in capitals" in line for line in index.warnings)


def test_case_37_junk_is_ignored_and_counted(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"cat": 1, "dog": 1, "cat/@eaDir": 2, "__MACOSX/cat": 1, ".git": 1})
    for name in (".DS_Store", "Thumbs.db", "cat/._0.png", "cat/.hidden.png", "dog/desktop.ini"):
        (root / name).write_bytes(b"x")
    index = open_source(root)
    assert index.paths == ("cat/0.png", "dog/0.png") and not index.skipped
    assert index.ignored == 8  # a folder counts as one


def test_case_38_nested_folders_count_to_their_class(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"cat/a/b/c": 1, "cat": 1, "dog/train": 1}))
    assert {path: index.classes[label] for path, label in zip(index.paths, index.labels, strict=True)} == {
        "cat/a/b/c/0.png": "cat",
        "cat/0.png": "cat",
        "dog/train/0.png": "dog",
    }


# Data set


def test_case_41_empty_class_keeps_its_number(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"ant": 1, "bee": 0, "cat": 1}))
    assert index.classes == ("ant", "bee", "cat") and index.labels.tolist() == [0, 2]
    assert any("'bee'" in line for line in index.warnings)


def test_case_42_class_missing_from_val(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"train/ant": 2, "train/bee": 2, "val/bee": 1}))
    val = index.only("val")
    assert [index.classes[label] for label in val.labels] == ["bee"]
    other = open_source(tmp_path / "val").relabelled_to(index.classes)
    assert other.labels.tolist() == val.labels.tolist() == [1]


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("declared", [False, True])
def test_case_43_class_only_in_val(make_folder: Make, tmp_path: Path, part: str, declared: bool) -> None:
    layout = {"train/ant": 2, "train/bee": 2, f"{part}/Ant": 1, **({"train/Ant": 0} if declared else {})}
    with pytest.raises(ShoeboxError, match=f"{part} has pictures of 'Ant', of which train has none .*'ant'"):
        open_source(make_folder(tmp_path, layout))


def test_case_44_class_of_one_picture(make_folder: Make, tmp_path: Path) -> None:
    result = split(open_source(make_folder(tmp_path, {"ant": 1, "bee": 20})))
    assert result.part[result.labels == 0].tolist() == ["train"]
    assert any("only one picture of 'ant'" in line for line in result.warnings)


def test_case_45_one_class(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"ant": 3}))
    with pytest.raises(ShoeboxError, match=r"1 class \('ant'\): at least 2 are needed"):
        index.require_classes(2)


@pytest.mark.parametrize("count", [1_001, 20_000])
def test_case_46_many_classes(count: int) -> None:
    rows = [Row(f"{c}/{i}.png", f"{c}", "") for c in range(count) for i in range(3)]
    index = split(assemble(Path("/data"), rows))
    assert len(index.classes) == count and index.counts().sum().to_dict() == dict.fromkeys(
        ("train", "val", "test"), count
    )
    single = split(assemble(Path("/data"), rows[::3]))
    assert all(len(line) < 300 for line in single.warnings)


def test_case_47_imbalance_is_told() -> None:
    rows = [Row(f"a/{i}.png", "common", "") for i in range(10_000)] + [Row("b/0.png", "rare", "")]
    warnings = split(assemble(Path("/data"), rows)).warnings
    assert any("unbalanced" in line and "'rare'" in line for line in warnings)


def test_libraries_print_nothing_while_pictures_fail(tmp_path: Path) -> None:
    """Cases 1, 12, 13 and 18 in a process whose warnings are shown: stderr stays empty."""
    for i, data in enumerate(
        [b"", encoded(FLAT, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" * 3), png(12000, 9000, b"")]
    ):
        (tmp_path / f"{i}.jpg").write_bytes(data)
    code = """
import sys
from pathlib import Path
from shoebox.data.picture import Unreadable, decode
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode(path)
    except Unreadable:
        pass
"""
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
