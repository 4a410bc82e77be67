"""What a file says of its picture beside the pixels: how it was stored, and which way is up.

In: a picture that Pillow has opened. Out: a `Header`. `shoebox.data.picture` is what opens.
"""

import struct
from typing import NamedTuple

from PIL import Image


class Header(NamedTuple):
    """What a file says of its picture.

    Attributes:
        format, mode: Pillow's names ("JPEG", "RGB"); the mode is that of the file, before any conversion.
        width, height: px, as stored; EXIF may turn them.
        orientation: EXIF's, 1 to 8; 1 is upright.
        animated: there are several pictures, of which the first is used.
        transparent: there is an alpha channel or a transparent colour.
        quantisation: a JPEG's tables, 64 steps each; empty for other formats.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    animated: bool
    transparent: bool
    quantisation: tuple[tuple[int, ...], ...]


def read_header(image: Image.Image) -> Header:
    """The header of an opened picture; read after its pixels, since some formats tell only then."""
    tables = getattr(image, "quantization", None) or {}
    return Header(
        image.format or "",
        image.mode,
        *image.size,
        orientation(image),
        bool(getattr(image, "is_animated", False)) and image.format != "MPO",
        image.has_transparency_data,
        tuple(tuple(tables[key]) for key in sorted(tables)),
    )


def orientation(image: Image.Image) -> int:
    """The EXIF orientation (1 to 8), 1 where there is none or the EXIF data make no sense.

    Read here and not by Pillow, whose reader goes through all tags and stumbles over any that is malformed.
    Source: EXIF 2.32, 4.6.4; a TIFF directory of 12-byte entries.
    """
    exif = image.info.get("exif")
    if not exif:
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == 0x0112:
                wide = {3: "H", 4: "I"}[kind] if values == 1 else "H"
                (orientation,) = struct.unpack_from(order + wide, tiff, entry + 8)
                return int(orientation)
    except (struct.error, KeyError):
        return 1
    return 1
