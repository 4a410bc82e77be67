"""Making a pack: its key, its files, and what is learnt of pictures whose pack would not fit.

In: the files of an index. Out: an entry of the cache, complete or not there at all.
"""

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from shoebox.base.progress import Progress
from shoebox.data import jpeg
from shoebox.data.cache import LAYOUT, Entry, Meta, new_folder, publish, remove
from shoebox.data.decoders import Decoded, decode_all
from shoebox.data.index import as_text, located, stamp_files
from shoebox.data.preprocess import Preprocess

CHANGED = "changed while it was being read"


@dataclass(frozen=True)
class Packing:
    """What is to be packed, and how.

    Attributes:
        root: what the names are relative to.
        names: N paths, sorted, each once.
        stamps: (N, 3) of their files, from before this is made.
        preprocess: what to make of each.
        threads: how many to decode at a time.
        progress: what is told.
    """

    root: Path
    names: Sequence[str]
    stamps: NDArray[np.int64]
    preprocess: Preprocess
    threads: int
    progress: Progress

    def entry(self, packs: Path, *, survey: bool = False) -> Entry:
        """Where the pack belongs, or else what is learnt of the files without packing them."""
        decoder = (PIL.__version__, jpeg.DECODER, importlib.util.find_spec("pillow_heif") is not None)
        made = (self.preprocess.store, self.preprocess.fit, self.preprocess.interpolation)
        digest = hashlib.blake2b(repr((LAYOUT, decoder, made, survey)).encode(), digest_size=20)
        digest.update(os.fsencode(self.root.absolute()))
        for name, stamp in zip(self.names, as_text(self.stamps), strict=True):
            digest.update(os.fsencode(f"\0{name}\0{stamp}"))
        return Entry(packs / digest.hexdigest())

    def make(self, packs: Path) -> Meta:
        """Decode everything into a new entry.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        made = new_folder(packs)
        try:
            with Entry(made).pictures.open("wb") as file:
                file.truncate(3 * len(self.names) * self.preprocess.store**2)
            decoded = self._decode(Entry(made).pictures)
            meta = self._meta(decoded, survey=False)
            Entry(made).write(meta, decoded.checksums)
            publish(made, self.entry(packs).folder)
        except BaseException:
            remove(made)
            raise
        return meta

    def survey(self, packs: Path | None) -> dict[int, str]:
        """Decode everything once, keeping nothing, to learn which files are unreadable; remembered in the cache if
        there is one. Returns number → reason.
        """
        found = None if packs is None else self.entry(packs, survey=True).read()
        if found is not None:
            return found.unreadable
        decoded = self._decode(None)
        meta = self._meta(decoded, survey=True)
        if packs is not None:
            # what cannot be remembered (the disk is full) is found out again next time
            with contextlib.suppress(OSError):
                made = new_folder(packs)
                try:
                    Entry(made).write(meta, decoded.checksums)
                    publish(made, self.entry(packs, survey=True).folder)
                except OSError:
                    remove(made)
        return meta.unreadable

    def _decode(self, target: Path | None) -> Decoded:
        files = located(self.root, self.names)
        decoded = decode_all(files, self.preprocess, target, threads=self.threads, progress=self.progress)
        # The key is made of the stamps from before. A file that is another one by now must not be found under it.
        for i in np.flatnonzero((self.stamps != stamp_files(files)).any(1)).tolist():
            decoded.unreadable.setdefault(i, CHANGED)
        return decoded

    def _meta(self, decoded: Decoded, *, survey: bool) -> Meta:
        return Meta(
            str(self.root.absolute()), len(self.names), self.preprocess.store, decoded.unreadable, survey=survey
        )
