"""The only code that opens a picture: any file, or the bytes of one, to upright RGB uint8, or the reason why not.

How the unusual becomes 8-bit RGB:

- EXIF orientation 1 to 8 is applied; EXIF that cannot be read is ignored. Colour profiles are ignored.
- Transparency (alpha channel, palette entry, colour key) is laid over white.
- 16-bit grey is divided by 257 (65,535 becomes 255); 16-bit colour keeps its high byte. Nothing is clipped.
- 32-bit and float grey (TIFF): floats within 0..1 are multiplied by 255; anything else is stretched from the picture's
  own minimum (0) to its maximum (255). Values that are not finite count as the minimum.
- CMYK and YCCK JPEGs are read as Adobe writes them, inverted, which is also what browsers do.
- Of an animation or a document of several pages, the first picture.

What guards against hostile files: a regular file is made sure of before it is opened; the format is told by its first
bytes, never by its name, and only the decoder of that one format is called; the number of pixels is checked before
memory is taken for them; a file that ends early is refused, never filled up with grey. What this cannot survive is a
defect in a decoder that crashes the whole process; decoding runs in threads because a process a picture would cost ten
times the decoding itself.

Everything here may be called from several threads: no state is changed by a call. Pillow's warnings about odd metadata
are switched off once, on import, for Pillow's modules only: `warnings.catch_warnings` would change all threads at once.
"""

import io
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from shoebox.base.errors import ShoeboxError
from shoebox.data.header import Header, orientation, read_header
from shoebox.data.jpeg import decode_ordinary, size_of
from shoebox.data.names import one_line
from shoebox.data.preprocess import Preprocess
from shoebox.data.signature import HEAD, sniff

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# Pillow's plugins by the name of their format, imported here so that no call has to load them. HEIF is pillow-heif's.
ALLOWED = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "HEIF")

# The most pixels that are decoded: 256 MiB of RGB, which is where Pillow begins to warn. A JPEG may hold twice as many
# if it is asked for small, since its decoder then never makes the full picture.
MAX_PIXELS = (1 << 28) // 3
MAX_BYTES = 1 << 29
START = 1 << 14  # bytes that hold the header of most JPEGs
# A progressive JPEG has about ten scans; each costs a pass over all pixels, so thousands of them are a trap.
MAX_SCANS = 200

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_GREY = (128, 128, 128)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(ShoeboxError):
    """A file that is no picture, or one that cannot be decoded safely.

    Attributes:
        path: the file as the caller named it; "" for bytes.
        reason: what is wrong with it, on one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{one_line(self.path) or 'the picture'}: {self.reason}"


def decode(source: Path | bytes, *, at_least: int | None = None) -> NDArray[np.uint8]:
    """Open one picture.

    Args:
        source: a file, or the bytes of one.
        at_least: the result may be smaller than the picture, as long as both its sides keep this many pixels: a JPEG
            is then decoded at 1/2, 1/4 or 1/8 of its size, which is several times faster.

    Returns:
        (height, width, 3) uint8, upright RGB.

    Raises:
        Unreadable: it is not a picture, or is damaged, too large, or of a format that is not opened.
    """
    return _array(_open(source, at_least))


def pixel_count(path: Path) -> int:
    """How many pixels a file's picture has, from its header alone: nothing is decoded, and damage is not seen.

    Raises:
        Unreadable: as for `decode`, as far as a header tells.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Refused("not a regular file")
        with path.open("rb") as file:
            head = file.read(START)
            format, kind = sniff(head[:HEAD])
            if format not in ALLOWED:
                raise _Refused(f"not a picture Shoebox opens: it holds {kind}")
            if format == "JPEG" and (size := size_of(head)):
                return size[0] * size[1]
            if format == "HEIF":
                return _pixels(_open_heif(_read(path)))
            with Image.open(file, formats=(format,)) as image:
                return _pixels(image)
    except Exception as e:
        raise Unreadable(os.fspath(path), one_line(str(e)[:200]) or type(e).__name__) from e


def load(source: Path | str | bytes | NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Open one picture and bring it to the stored size, with antialiasing.

    Args:
        source: a file, the bytes of one, or pixels: uint8, (height, width, 3) RGB or (height, width) grey.
        preprocess: its `store`, `fit` and `interpolation` are used.

    Returns:
        (store, store, 3) uint8, upright RGB.

    Raises:
        Unreadable: as for `decode`.
    """
    side = preprocess.store
    opened = _of_pixels(source) if isinstance(source, np.ndarray) else _open(source, side)
    if isinstance(opened, np.ndarray) and opened.shape[:2] == (side, side):
        return opened
    image = Image.fromarray(opened) if isinstance(opened, np.ndarray) else opened
    width, height = image.size
    target = (side, side)
    if preprocess.fit == "crop" and width != height:
        edge = min(width, height)
        left, top = (width - edge) // 2, (height - edge) // 2
        image = image.crop((left, top, left + edge, top + edge))
    elif preprocess.fit == "pad":
        longest = max(width, height)
        target = (max(1, round(side * width / longest)), max(1, round(side * height / longest)))
    if image.size != target:
        image = image.resize(target, _FILTERS[preprocess.interpolation])
    if target != (side, side):
        canvas = Image.new("RGB", (side, side), _GREY)
        canvas.paste(image, ((side - target[0]) // 2, (side - target[1]) // 2))
        image = canvas
    return np.array(image)


def examine(source: Path) -> tuple[NDArray[np.uint8], Header]:
    """Open one picture at its full size, and say how it was stored.

    Returns:
        (height, width, 3) uint8, upright RGB, and the header.

    Raises:
        Unreadable: as for `decode`.
    """
    headers: list[Header] = []
    pixels = _array(_open(source, None, headers.append))
    return pixels, headers[0]


def _array(opened: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return opened if isinstance(opened, np.ndarray) else np.array(opened)


def _of_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8 or not pixels.size or pixels.shape[2:] not in ((), (3,)):
        raise Unreadable("", f"an array {pixels.dtype} {pixels.shape}: expected uint8 (height, width, 3)")
    return Image.fromarray(pixels).convert("RGB")


def _open(
    source: Path | str | bytes, at_least: int | None, look: Callable[[Header], None] | None = None
) -> Image.Image | NDArray[np.uint8]:
    """The picture as an upright Pillow image of mode RGB, or its pixels. Whatever fails is an `Unreadable`."""
    path = "" if isinstance(source, bytes) else os.fspath(source)
    try:
        return _decode(source if isinstance(source, bytes) else _read(source), at_least, look)
    except _Refused as e:
        raise Unreadable(path, str(e)) from None
    except Image.DecompressionBombError as e:
        raise Unreadable(path, f"more than the {2 * MAX_PIXELS:,} pixels that are decoded") from e
    except UnidentifiedImageError as e:
        raise Unreadable(path, "damaged: it begins as a picture, but cannot be read as one") from e
    except Exception as e:
        # Decoders meet hostile bytes with errors of any kind; each is a fact about this one file.
        detail = (e.strerror or str(e)) if isinstance(e, OSError) else str(e)
        raise Unreadable(path, one_line(f"{detail or type(e).__name__}"[:200])) from e


class _Refused(Exception):
    """A reason, found before or after the decoder's work, for not taking a picture."""


def _read(path: Path | str) -> bytes:
    """All bytes of a regular file; never blocks on a FIFO, socket or device."""
    status = os.stat(path)  # noqa: PTH116 (a Path costs more); a device may act on being opened, so this comes first
    if not stat.S_ISREG(status.st_mode):
        raise _Refused("not a regular file")
    if status.st_size > MAX_BYTES:
        raise _Refused(f"{status.st_size >> 20:,} MiB: more than the {MAX_BYTES >> 20} MiB that are read")
    # Should a FIFO have taken its place meanwhile, O_NONBLOCK opens it without waiting and reading ends at once.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        data = os.read(handle, status.st_size)
        while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
            data += more
    finally:
        os.close(handle)
    return data


def _decode(
    data: bytes, at_least: int | None, look: Callable[[Header], None] | None
) -> Image.Image | NDArray[np.uint8]:
    if not data:
        raise _Refused("the file is empty")
    format, kind = sniff(data[:HEAD])
    if format not in ALLOWED:
        raise _Refused(f"not a picture Shoebox opens: it holds {kind}")
    if format == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise _Refused(f"a JPEG of more than {MAX_SCANS} scans")
    if format == "JPEG" and look is None:
        limit = 2 * at_least if at_least else None
        if (pixels := decode_ordinary(data, shorter_below=limit, most_pixels=MAX_PIXELS)) is not None:
            return pixels
    image = _open_heif(data) if format == "HEIF" else Image.open(io.BytesIO(data), formats=(format,))
    if at_least and format == "JPEG" and min(image.size) >= 2 * at_least and _pixels(image) <= 2 * MAX_PIXELS:
        image.draft("RGB", (at_least, at_least))
    if _pixels(image) > MAX_PIXELS:
        raise _Refused(f"{image.width} × {image.height} pixels: more than the {MAX_PIXELS:,} that are decoded")
    image.load()
    if look:
        look(read_header(image))
    turn = None if format == "TIFF" else _UPRIGHT.get(orientation(image))  # Pillow turns a TIFF itself
    image = _to_rgb(image)
    return image if turn is None else image.transpose(turn)


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _open_heif(data: bytes) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise _Refused(
            "a HEIC picture, which needs the library pillow-heif: pip install 'shoebox-classifier[heif]'"
        ) from None
    image: Image.Image = HeifImageFile(io.BytesIO(data))
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's to RGB, by the rules at the top of this file."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _grey((np.asarray(image).astype(np.uint32) + 128) // 257)
    if image.mode in ("I", "F"):
        return _grey(_stretched(np.asarray(image), sixteen_bit=image.format in ("PNG", "PPM")))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        canvas = Image.new("RGB", layer.size, "white")
        canvas.paste(layer, mask=layer.getchannel("A"))
        return canvas
    return image.convert("RGB")


def _grey(values: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _stretched(values: NDArray[np.generic], *, sixteen_bit: bool) -> NDArray[np.float64]:
    """32-bit or float grey to 0..255. `sixteen_bit`: integers that Pillow widened from 16 bits."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        raise _Refused("a picture of floating-point numbers without a finite one")
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    numbers = np.where(finite, numbers, low)
    if sixteen_bit:
        low, high = 0.0, 65535.0
    elif values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.rint((numbers - low) * (255 / (high - low if high > low else 1)))
