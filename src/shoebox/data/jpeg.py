"""Ordinary JPEGs, decoded by libjpeg-turbo itself: pixel for pixel what Pillow makes of them, in a sixth of the time
where they are small, since Pillow reads a file's markers in Python.

In: the bytes of a JPEG. Out: its pixels, or None where anything about it is out of the ordinary. Pillow then decides
what it is, and whether it is refused.
"""

import numpy as np
from numpy.typing import NDArray

try:
    import simplejpeg
except ImportError:  # no wheel for this system: Pillow decodes everything
    simplejpeg = None

DECODER = None if simplejpeg is None else simplejpeg.__version__
"""Which one decodes; None where there is none but Pillow."""
ORDINARY = ("YCbCr", "Gray")


def size_of(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG, from the bytes at its beginning; None where they do not tell."""
    if simplejpeg is None:
        return None
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return height, width


def decode_ordinary(data: bytes, *, shorter_below: int | None, most_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG that is whole, upright, grey or of the usual colours.

    Args:
        data: the file.
        shorter_below: one whose shorter side is not below this many pixels is left to Pillow, which can decode it at a
            fraction of its size.
        most_pixels: one with more is left to Pillow too.

    Returns:
        (height, width, 3) uint8 RGB; None for any other JPEG, and for a damaged one.
    """
    if simplejpeg is None or b"Exif\0\0" in data:  # which may turn the picture
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ORDINARY or height * width > most_pixels:
            return None
        if shorter_below is not None and min(height, width) >= shorter_below:
            return None
        # Strict: what libjpeg only warns of, such as a file that ends early, is an error.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError:
        return None
    return pixels
