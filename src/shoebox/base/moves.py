"""Moving and copying files without ever overwriting one or losing one.

In: a source and a target that must not exist. Out: the target, or an error with both as they were. `move` is a single
rename where the system has one that refuses to overwrite; `copy_aside` and `publish` are the two halves of everything
else, between which a journal can note what is about to appear.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from shoebox.base.errors import ShoeboxError

Identity = tuple[int, int, int]
"""A file's number on its disk, its size in bytes and its time of change in ns: the same before and after a rename."""

_CHUNK = 1 << 20
_NOT_HERE = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}


class Crossing(OSError):
    """A file cannot be renamed here without the danger of overwriting another, or lies on another disk: copy it."""


def identity(path: Path) -> Identity | None:
    """What tells a file from every other; None where there is none. A link is not followed."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def is_regular(path: Path) -> bool:
    """Whether it is a file, and no link, folder or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def move(source: Path, target: Path) -> None:
    """Rename a file in one step that fails if the target exists.

    By renameat2(RENAME_NOREPLACE) on Linux, by rename on Windows (which refuses by itself), and elsewhere by a hard
    link to the target and the removal of the source: killed between the two, both names hold the same file.

    Raises:
        FileExistsError: the target exists.
        Crossing: another disk, or a file system that has neither of these.
        OSError: anything else the system refuses.
    """
    try:
        if sys.platform == "win32":
            source.rename(target)
        elif not _rename_exclusively(source, target):
            os.link(source, target, follow_symlinks=False)
            source.unlink()
    except OSError as e:
        if e.errno == errno.EXDEV or (e.errno in _NOT_HERE and not target.exists()):
            raise Crossing(e.errno, e.strerror) from e
        raise


def _rename_exclusively(source: Path, target: Path) -> bool:
    """renameat2 with RENAME_NOREPLACE; False where this system or file system has no such call."""
    call = _renameat2()
    if call is None:
        return False
    here, no_replace = -100, 1  # AT_FDCWD, RENAME_NOREPLACE of linux/fs.h
    if call(here, os.fsencode(source), here, os.fsencode(target), no_replace) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number), os.fspath(source), None, os.fspath(target))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    call: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return cast(Callable[..., int] | None, call)


def copy_aside(source: Path, temporary: Path, *, durably: bool = True) -> Identity:
    """Copy a file under a name that must not exist, with its times and permissions; read it back and compare.

    Args:
        durably: the copy is on the disk (fsync) when this returns.

    Raises:
        ShoeboxError: what was read back is not what was written.
        OSError: as the system says; no copy is left.
    """
    try:
        with source.open("rb") as from_, temporary.open("xb") as to:
            before = hashlib.blake2b()
            while chunk := from_.read(_CHUNK):
                before.update(chunk)
                to.write(chunk)
            to.flush()
            if durably:
                os.fsync(to.fileno())
        shutil.copystat(source, temporary, follow_symlinks=False)
        after = hashlib.blake2b()
        with temporary.open("rb") as copied:
            while chunk := copied.read(_CHUNK):
                after.update(chunk)
        if after.digest() != before.digest():
            raise ShoeboxError(f"{temporary} does not hold what was copied from {source}: is the disk failing?")
    except FileExistsError:
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    made = identity(temporary)
    assert made is not None
    return made


def publish(temporary: Path, target: Path) -> None:
    """Give a copy its name, which must not exist. The folder is not waited for (`sync_folder`).

    Raises:
        FileExistsError: the target exists.
    """
    try:
        move(temporary, target)
    except Crossing:
        # A file system that can neither rename exclusively nor link (FAT): claim the name, then replace the claim.
        with target.open("xb"):
            pass
        temporary.replace(target)
