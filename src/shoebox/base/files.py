"""Writing that survives a crash: the atomic write, the run lock; and what reading raises of what did not survive.

Everything that matters goes through `atomic_write`: a temporary file in the same folder, written, flushed, fsynced,
renamed over the target, and the folder fsynced. Whoever is killed at any moment leaves the old file or the new one.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from shoebox.base.errors import ShoeboxError


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that replaces `path` only if the block ends without an error.

    Args:
        path: the target; its folder must exist.
        mode: "wb" or "w" (UTF-8, newlines as written).

    Raises:
        OSError: the disk is full, the folder is read-only, …; `path` is then as it was and no temporary file is left.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        text = "b" not in mode
        with os.fdopen(handle, mode, encoding="utf-8" if text else None, newline="" if text else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~current_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def when_damaged() -> tuple[type[BaseException], ...]:
    """What reading an .npz file raises that is missing or damaged, where a flipped bit may say that it is encrypted,
    compressed in another way, or of a size that no memory has. For `except`: only then is imported what it names."""
    import lzma
    import zipfile
    import zlib

    values = (ValueError, KeyError, IndexError, TypeError, RuntimeError, MemoryError)
    return (OSError, EOFError, *values, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def sync_folder(folder: Path) -> None:
    """Make renames within `folder` durable; a no-op where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def current_umask() -> int:
    """The process's umask, read by setting it and setting it back (there is no other portable way)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process: the operating system's lock on its file `lock`.

    The lock dies with its process, so one left by a killed run is free at once. The file stays; it holds the
    owner's process number, for the message only.

    Raises:
        ShoeboxError: another process holds it.
    """
    path = folder / "lock"
    with path.open("a+", encoding="ascii") as file:
        try:
            _lock_file(file)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise ShoeboxError(
                f"another run (process {owner}) is writing to {folder}: wait for it, stop it, or choose another folder"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock_file(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def cache_folder(chosen: Path | None = None) -> Path:
    """The cache: `chosen`, else $XDG_CACHE_HOME/shoebox, else ~/.cache/shoebox. Made if missing."""
    folder = chosen or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shoebox"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
