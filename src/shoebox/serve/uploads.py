"""Pictures out of a request's body: one as it is, or many as multipart/form-data.

In: the headers and the body as it arrives. Out: `Upload`s, in memory; nothing is written to a disk, and a name that a
client gives is never a path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shoebox.serve.problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LONGEST_NAME = 255
LARGEST_FIELD = 1024
MOST_FIELDS = 16
RAW = "application/octet-stream"
MULTIPART = "multipart/form-data"
EXPECTED = f"send pictures as {MULTIPART}, or one with Content-Type: image/jpeg, image/png, … or {RAW}"


@dataclass(frozen=True)
class Upload:
    """A file that a client sent.

    Attributes:
        name: as the client gave it; None where it gave none.
        data: its bytes.
    """

    name: str | None
    data: bytes


async def read_uploads(content_type: str, body: AsyncIterator[bytes], most: int) -> list[Upload]:
    """Read a body to its end.

    Args:
        content_type: the header, "" where there is none.
        body: its parts.
        most: how many pictures there may be.

    Raises:
        Problem: 400, 413, 415.
    """
    kind, options = parse_options_header(content_type)
    media = kind.decode("latin-1").lower()
    if media == MULTIPART:
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem(400, "the Content-Type names no boundary")
        uploads = await _read_form(boundary, body, most)
    elif media == RAW or (media.startswith("image/") and media != "image/svg+xml"):
        uploads = [Upload(None, b"".join([part async for part in body]))]
    else:
        raise Problem(415, EXPECTED)
    if not any(upload.data for upload in uploads):
        raise Problem(400, f"there is no picture in the request: {EXPECTED}")
    return uploads


async def _read_form(boundary: bytes, body: AsyncIterator[bytes], most: int) -> list[Upload]:
    form = _Form(most)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for part in body:
            parser.write(part)
    except (FormParserError, ValueError) as e:
        raise Problem(400, "the multipart body is malformed") from e
    if not form.ended:
        raise Problem(400, "the multipart body ends early")
    return form.uploads


class _Form:
    """The parts of a form, as the parser tells of them."""

    def __init__(self, most: int) -> None:
        self.uploads: list[Upload] = []
        self.ended = False
        self._most = most
        self._fields = 0
        self._name: str | None = None
        self._is_file = False
        self._data = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self.part_begin,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_end": self.end,
        }

    def part_begin(self) -> None:
        self._headers, self._data = {}, bytearray()
        self._is_file, self._name = False, None

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def headers_finished(self) -> None:
        if b"content-transfer-encoding" in self._headers:
            encoding = self._headers[b"content-transfer-encoding"].lower()
            if encoding not in (b"binary", b"8bit", b"7bit"):
                raise Problem(415, "encoded parts are not taken: send pictures as they are")
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data":
            raise Problem(400, "a part of the form has no Content-Disposition: form-data")
        given = options.get(b"filename")
        self._is_file = given is not None
        if given is not None:
            self._name = _checked(given.decode("utf-8", "replace"))
        else:
            self._fields += 1
        if len(self.uploads) + self._is_file > self._most:
            raise Problem(413, f"a request may hold {self._most} pictures: send the others in another")
        if self._fields > MOST_FIELDS:
            raise Problem(413, f"a form may have {MOST_FIELDS} fields that are no files")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        if not self._is_file and len(self._data) > LARGEST_FIELD:
            raise Problem(413, f"a field that is no file may have {LARGEST_FIELD} bytes")

    def part_end(self) -> None:
        if self._is_file:
            self.uploads.append(Upload(self._name, bytes(self._data)))

    def end(self) -> None:
        self.ended = True


def _checked(name: str) -> str | None:
    """A file's name, which is only ever repeated to the client.

    Raises:
        Problem: 400: it has a folder in it, or is no name.
    """
    if any(c in name for c in "/\\\0") or name in (".", "..") or len(name.encode()) > LONGEST_NAME:
        raise Problem(400, f"a file's name has no folder and at most {LONGEST_NAME} bytes")
    return name or None
