"""The survey: every file of an index opened once, and what the checks need of it kept.

In: an index. Out: one record a row: how the file is stored, a hash of its pixels, a few measures of the picture, its
border, and a thumbnail of 32 × 32. The records of files that have not changed are found in `<cache>/surveys`.

As a program it is the worker of `shoebox.data.decoders`, so a decoder that crashes or hangs costs its one file.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from shoebox.base.files import cache_folder
from shoebox.base.progress import QUIET, Progress
from shoebox.data import worker
from shoebox.data.decoders import Work, decode_all
from shoebox.data.header import Header
from shoebox.data.index import ImageIndex, as_text, located, stamp_files
from shoebox.data.picture import Unreadable, examine
from shoebox.data.prefetch import prefetch
from shoebox.data.preprocess import Preprocess
from shoebox.data.stream import processors
from shoebox.data.worker import Chunk

LAYOUT = 1  # to be raised when the same file would give another record
SIDE = 32
KEPT = 30 * 24 * 3600  # seconds without use after which a survey is removed
_MEASURED = 256  # px of the longer side at which sharpness and entropy are measured

RECORD = np.dtype(
    [
        ("problem", "S160"),  # why it cannot be read, UTF-8; empty if it can
        ("bytes", "i8"),
        ("changed", "i8"),  # ns since 1970
        ("format", "S8"),
        ("mode", "S8"),
        ("width", "u4"),  # as stored, px
        ("height", "u4"),
        ("orientation", "u1"),
        ("animated", "?"),
        ("transparent", "?"),
        ("quality", "u1"),  # of a JPEG, 1 to 100; 0 for other formats
        ("pixels", "V16"),  # a hash of the upright RGB pixels and their shape
        ("brightness", "f4"),  # mean of the grey picture, 0 to 255
        ("spread", "f4"),  # its standard deviation
        ("entropy", "f4"),  # of its grey levels, bits
        ("sharpness", "f4"),  # standard deviation of the Laplacian over that of the picture
        ("border", "f4", (4, 6)),  # top, bottom, left, right: mean and standard deviation of red, green and blue
        ("thumb", "u1", (SIDE, SIDE, 3)),
    ]
)

Records = NDArray[np.void]


def survey(
    index: ImageIndex, *, cache: Path | None = None, threads: int | None = None, progress: Progress = QUIET
) -> Records:
    """Look at every file of an index.

    Returns:
        (N,) of `RECORD`, a row each; those that cannot be read say so in `problem` and hold zeros.

    Raises:
        OSError: neither the cache nor the system's temporary folder can be written.
    """
    names = sorted(set(index.paths))
    target = _kept(index, names, cache)
    if not target.is_file() or target.stat().st_size != RECORD.itemsize * len(names):
        _make(index, names, target, threads or processors(), progress)
    records = np.fromfile(target, RECORD)
    with contextlib.suppress(OSError):
        os.utime(target)
    number = {name: i for i, name in enumerate(names)}
    return records[[number[path] for path in index.paths]]


def look(file: Path) -> Records:
    """The record of one file, (1,)."""
    record = np.zeros(1, RECORD)
    try:
        status = file.stat()
        record["bytes"], record["changed"] = status.st_size, status.st_mtime_ns
        pixels, header = examine(file)
    except Unreadable as e:
        record["problem"] = e.reason.encode("utf-8", "replace")[:160]
    except OSError as e:
        record["problem"] = (e.strerror or "cannot be read").encode("utf-8", "replace")[:160]
    else:
        _describe(record[0], pixels, header)
    return record


def _make(index: ImageIndex, names: Sequence[str], target: Path, threads: int, progress: Progress) -> None:
    handle, name = tempfile.mkstemp(prefix=".making-", dir=target.parent)
    os.close(handle)
    made = Path(name)
    try:
        os.truncate(made, RECORD.itemsize * len(names))
        files = located(index.root, names)
        decoded = decode_all(files, Preprocess(SIDE, SIDE), made, threads=threads, work=WORK, progress=progress)
        if decoded.unreadable:
            records = np.memmap(made, RECORD, "r+")
            for i, reason in decoded.unreadable.items():
                # Also of those whose decoder crashed, which wrote nothing.
                records["problem"][i] = reason.encode("utf-8", "replace")[:160]
            records.flush()
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)


def _kept(index: ImageIndex, names: Sequence[str], cache: Path | None) -> Path:
    """Where the survey of these files is, or goes; those not used for a month are removed."""
    digest = hashlib.blake2b(repr((LAYOUT, PIL.__version__, RECORD)).encode(), digest_size=20)
    files = located(index.root.absolute(), names)
    for file, stamp in zip(files, as_text(stamp_files(files)), strict=True):
        digest.update(os.fsencode(f"\0{file}\0{stamp}"))
    folder = cache_folder(cache) / "surveys"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > KEPT:
                old.unlink()
    return folder / f"{digest.hexdigest()}.records"


def survey_chunk(
    first: int,
    files: Sequence[str],
    preprocess: Preprocess,
    target: Path | None,
    after_each: Callable[[], None] = lambda: None,
) -> Chunk:
    """Look at some files and write their records into `target`, from that of number `first` on."""
    assert target is not None and preprocess.store == SIDE
    prefetch(files)
    records = []
    for file in files:
        records.append(look(Path(file)))
        after_each()
    with target.open("r+b", buffering=0) as stream:
        stream.seek(first * RECORD.itemsize)
        stream.write(np.concatenate(records).tobytes())
    problems = {i: record["problem"][0].decode() for i, record in enumerate(records) if record["problem"][0]}
    return Chunk([0] * len(files), problems)


def main() -> None:
    """Answer requests, as `shoebox.data.worker` does."""
    worker.main(survey_chunk)


WORK = Work("shoebox.data.survey", survey_chunk)


def _describe(record: np.void, pixels: NDArray[np.uint8], header: Header) -> None:
    from PIL import Image

    record["format"], record["mode"] = header.format.encode(), header.mode.encode()
    record["width"], record["height"], record["orientation"] = header.width, header.height, header.orientation
    record["animated"], record["transparent"] = header.animated, header.transparent
    record["quality"] = jpeg_quality(header.quantisation)
    hashed = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    hashed.update(pixels.tobytes())
    record["pixels"] = hashed.digest()
    image = Image.fromarray(pixels)
    record["thumb"] = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    grey = image.convert("L")
    grey.thumbnail((_MEASURED, _MEASURED), Image.Resampling.BOX)
    levels = np.asarray(grey, np.float32)
    counts = np.asarray(grey.histogram(), np.float64)
    share = counts[counts > 0] / counts.sum()
    record["brightness"], record["spread"] = levels.mean(), levels.std()
    record["entropy"] = -(share * np.log2(share)).sum()
    if min(levels.shape) >= 3:
        edges = levels[2:, 1:-1] + levels[:-2, 1:-1] + levels[1:-1, 2:] + levels[1:-1, :-2] - 4 * levels[1:-1, 1:-1]
        record["sharpness"] = edges.std() / max(float(levels.std()), 1.0)
    # The outermost fortieth, at least a pixel: where frames, stamps and margins are.
    rows, columns = (max(1, side // 40) for side in pixels.shape[:2])
    strips = (pixels[:rows], pixels[-rows:], pixels[:, :columns], pixels[:, -columns:])
    for side, strip in enumerate(strips):
        colours = strip.reshape(-1, 3).astype(np.float32)
        record["border"][side, :3], record["border"][side, 3:] = colours.mean(0), colours.std(0)


_STANDARD = 3688  # the sum of the luminance table of the JPEG standard (ITU-T T.81, K.1)


def jpeg_quality(tables: Sequence[Sequence[int]]) -> int:
    """The quality, 1 to 100, whose luminance table in the reference encoder (libjpeg) is nearest; 0 without tables."""
    if not tables:
        return 0
    scale = 100 * float(np.sum(tables[0])) / _STANDARD
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return int(np.clip(round(quality), 1, 100))
