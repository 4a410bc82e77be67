"""Pictures made small, so that thousands fit on a page.

In: uint8 pictures. Out: WebP files as bytes, all of one side, chosen so that together they stay within a budget.
"""

import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

SIDES = (160, 128, 96, 64, 48, 32)
QUALITY = 76
TRIED = 48  # pictures that are encoded to choose the side
CHUNK = 256  # pictures in memory at a time

Gather = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


def thumbnails(gather: Gather, rows: NDArray[np.int64], budget: int) -> list[bytes]:
    """Encode pictures at the largest side for which all of them fit the budget.

    Args:
        gather: rows (n,) to pictures (n, S, S, 3) uint8 RGB, as a pack's.
        rows: (N,) which.
        budget: bytes in all, as estimated from a few; at the smallest side it may be passed.

    Returns:
        N WebP files; none is larger than its picture is.
    """
    if not len(rows):
        return []
    tried = gather(rows[np.linspace(0, len(rows) - 1, min(TRIED, len(rows))).astype(np.int64)])
    stored = tried.shape[1]
    sides = [side for side in SIDES if side < stored]
    for side in (min(stored, SIDES[0]), *sides):
        mean = np.mean([len(encode(picture, side)) for picture in tried])
        if mean * len(rows) <= budget:
            break
    return [encode(picture, side) for picture in _pictures(gather, rows)]


def _pictures(gather: Gather, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(rows), CHUNK):
        yield from gather(rows[start : start + CHUNK])


def encode(picture: NDArray[np.uint8], side: int) -> bytes:
    """A picture (S, S, 3) as WebP of that side, px."""
    from PIL import Image

    image = Image.fromarray(picture)
    if side != image.width:
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()
