"""What the first bytes of a file say it is, whatever its name claims.

In: the first `HEAD` bytes. Out: a format, by Pillow's name for it where Shoebox opens it.
"""

from typing import NamedTuple

HEAD = 512

# (offset, bytes, Pillow's name or None where Shoebox does not open it, what a person calls it)
_BINARY: tuple[tuple[int, bytes, str | None, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG", "a JPEG picture"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG", "a PNG picture"),
    (0, b"GIF87a", "GIF", "a GIF picture"),
    (0, b"GIF89a", "GIF", "a GIF picture"),
    (8, b"WEBPVP8", "WEBP", "a WebP picture"),
    (0, b"BM", "BMP", "a BMP picture"),
    (0, b"II*\0", "TIFF", "a TIFF picture"),
    (0, b"MM\0*", "TIFF", "a TIFF picture"),
    (0, b"II+\0", "TIFF", "a TIFF picture"),
    (0, b"MM\0+", "TIFF", "a TIFF picture"),
    *((0, b"P%d%c" % (kind, space), "PPM", "a PPM picture") for kind in range(1, 7) for space in b" \t\r\n#"),
    *((4, b"ftyp" + brand, "AVIF", "an AVIF picture") for brand in (b"avif", b"avis")),
    *(
        (4, b"ftyp" + brand, "HEIF", "a HEIC picture")
        for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1")
    ),
    (4, b"ftyp", None, "a video"),
    (0, b"\xff\x0a", None, "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", None, "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", None, "a JPEG 2000 picture"),
    (0, b"\0\0\1\0", None, "an icon file"),
    (0, b"8BPS", None, "a Photoshop document"),
    (0, b"%PDF", None, "a PDF document"),
    (0, b"%!PS", None, "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", None, "a PostScript document"),
    (0, b"PK\3\4", None, "a zip archive"),
    (0, b"\x1f\x8b", None, "a gzip archive"),
    (0, b"\xfd7zXZ", None, "an xz archive"),
)

# Looked for at the start of the text, after white space and a byte order mark, in lower case.
_TEXT = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<head", "an HTML page"),
    (b"<!doctype svg", "an SVG drawing"),
    (b"<svg", "an SVG drawing"),
    (b"<", "an XML document"),
)


class Signature(NamedTuple):
    """What a file is.

    Attributes:
        format: Pillow's name of the format ("HEIF" for pillow-heif's), or None where Shoebox does not open it.
        kind: what a person calls it, with its article.
    """

    format: str | None
    kind: str


def sniff(head: bytes) -> Signature:
    """Tell a file's format by its first bytes (`HEAD` of them, or all where there are fewer)."""
    for offset, magic, format, kind in _BINARY:
        if head.startswith(magic, offset):
            if format == "HEIF" and b"avif" in head[16:64]:  # one container, told apart by its list of brands
                return Signature("AVIF", "an AVIF picture")
            return Signature(format, kind)
    if not head:
        return Signature(None, "nothing at all")
    text = head[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, kind in _TEXT:
        if text.startswith(start):
            return Signature(None, "an SVG drawing" if b"<svg" in text else kind)
    if not head.strip(b"\0"):
        return Signature(None, "nothing but zero bytes")
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return Signature(None, "plain text")
    return Signature(None, "no known format")
