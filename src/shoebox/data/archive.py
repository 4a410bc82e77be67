"""Archives of pictures, unpacked once into the cache and never outside it.

In: a .zip, or a .tar plain or packed by gzip, bzip2 or xz. Out: a folder named for the archive's content.

What is unpacked is what Python's "data" filter for tar files would let through, and less: regular files only, written
anew under names that stay inside. An archive that tries to leave its folder is refused whole; links, devices and names
that the file system cannot take are left out and listed. Modes and owners are not restored; times of change are, so
that unpacking again gives the same fingerprint.
"""

import calendar
import contextlib
import hashlib
import json
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import QUIET, Progress
from shoebox.data.index import Skipped
from shoebox.data.names import is_junk, one_line
from shoebox.data.stash import stash

MAX_MEMBERS = 10_000_000
# Pictures are packed already: more than 100 times the archive, and over this many bytes, is a bomb.
MAX_RATIO = 100
FREE_OF_RATIO = 1 << 30

_LEFT_OUT = ".left-out.json"
_CHUNK = 1 << 20


class _Member(NamedTuple):
    name: str
    size: int
    changed: float  # seconds since 1970
    content: IO[bytes] | None  # None for what is no regular file
    is_folder: bool = False


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its first bytes. (A tar without compression has its mark at byte 257.)"""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith((b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh")) or head[257:262] == b"ustar"


def unpack(path: Path, cache: Path, *, progress: Progress = QUIET) -> tuple[Path, list[Skipped]]:
    """Unpack an archive into the cache, unless its content is there already.

    Args:
        path: the archive.
        cache: the cache; the result is its `archives/<digest>`.

    Returns:
        The folder, and what was left out.

    Raises:
        ShoeboxError: the archive is damaged, encrypted, too large for the disk, or would write outside its folder.
    """
    with _reported(path):
        folder = stash(cache / "archives" / _digest(path), lambda target: _unpack(path, target, progress))
    left_out = json.loads((folder / _LEFT_OUT).read_text("utf-8"))
    return folder, [Skipped(*entry) for entry in left_out]


def _digest(path: Path) -> str:
    """Of all bytes: a plain tar keeps no checksum of its own that would do instead."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _unpack(path: Path, target: Path, progress: Progress) -> None:
    progress.say(f"unpacking {one_line(path)}")
    left_out: list[Skipped] = []
    room = _Room(path, target)
    with _opened(path) as members:
        for count, member in enumerate(progress.track(members, label="unpacking")):
            if count >= MAX_MEMBERS:
                raise ShoeboxError(f"{one_line(path)}: more than {MAX_MEMBERS:,} files")
            name = _safe_name(path, member.name)
            if not name or any(is_junk(piece) for piece in name.split("/")):
                continue
            if member.is_folder:
                with contextlib.suppress(FileExistsError, NotADirectoryError):
                    (target / name).mkdir(parents=True, exist_ok=True)  # an empty one is an empty class
                continue
            if member.content is None:
                left_out.append(Skipped(name, "a link or device in an archive"))
                continue
            room.take(member.size)
            try:
                _write(target, name, member)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                left_out.append(Skipped(name, "the archive holds two files of this name"))
            except OSError as e:
                if room.is_full():
                    raise
                left_out.append(Skipped(name, f"cannot be unpacked ({e.strerror})"))
    (target / _LEFT_OUT).write_text(json.dumps([astuple(s) for s in left_out]), "utf-8")


def _write(target: Path, name: str, member: _Member) -> None:
    file = target / name
    assert member.content is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as out:
        shutil.copyfileobj(member.content, out, _CHUNK)
    changed = min(max(member.changed, 0), 1 << 32)
    os.utime(file, (changed, changed))


def _safe_name(path: Path, name: str) -> str:
    """A member's name without `.` and doubled slashes; "" for the archive's own folder."""
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or (os.name == "nt" and ":" in name):
        raise ShoeboxError(f"{one_line(path)}: refused, since {one_line(name)} would be written outside its folder")
    clean = posixpath.normpath(name)
    return "" if clean == "." else clean


class _Room:
    """How much may still be unpacked."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target = path, target
        self.left = max(FREE_OF_RATIO, path.stat().st_size * MAX_RATIO)
        self.free = shutil.disk_usage(target).free

    def take(self, size: int) -> None:
        self.left -= size
        self.free -= size
        if self.left < 0:
            raise ShoeboxError(f"{one_line(self.path)}: refused, since it grows to over {MAX_RATIO} times its size")
        if self.free < 0:
            raise ShoeboxError(f"{one_line(self.path)}: does not fit the disk of the cache, {self.target.parent}")

    def is_full(self) -> bool:
        return shutil.disk_usage(self.target).free < _CHUNK


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(path) and not _is_tar(path):
        with zipfile.ZipFile(path) as archive:
            yield _zip_members(archive)
    else:
        with tarfile.open(path, "r|*") as archive:  # as a stream: no second pass to find the members
            yield _tar_members(archive)


def _is_tar(path: Path) -> bool:
    """A tar whose last member is a zip ends as a zip does."""
    with path.open("rb") as file:
        return file.read(262)[257:] == b"ustar"


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        year, month, *rest = info.date_time
        changed = calendar.timegm((year, min(max(month, 1), 12), *rest))  # in no time zone, so the same everywhere
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            yield _Member(info.filename, 0, changed, None, is_folder=info.is_dir())
        else:
            with archive.open(info) as content:
                yield _Member(info.filename, info.file_size, changed, content)


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        yield _Member(
            info.name, info.size, info.mtime, archive.extractfile(info) if info.isreg() else None, info.isdir()
        )
        cast(Any, archive).members = []  # it would remember every one


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside an archive, as one line that names it."""
    try:
        yield
    except ShoeboxError:
        raise
    except OSError as e:
        raise ShoeboxError(f"{one_line(path)}: cannot be unpacked ({e.strerror or e})") from e
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as e:
        raise ShoeboxError(f"{one_line(path)}: the archive is damaged ({one_line(str(e))})") from e
    except (RuntimeError, NotImplementedError, ValueError, OverflowError) as e:
        raise ShoeboxError(f"{one_line(path)}: cannot be unpacked ({one_line(str(e))})") from e
