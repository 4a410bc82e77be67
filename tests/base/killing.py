"""What tests of undoing share: a process that ends at any of its steps, and what a tree of files holds."""

import json
import os
from pathlib import Path

from shoebox.base import ledger, moves


def picture_of(root):
    """Everything below a folder: bytes, times, permissions and links by name."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_dir():
                found[str(path)] = "folder"
            else:
                status = path.stat()
                found[str(path)] = (path.read_bytes(), status.st_mtime_ns, status.st_mode)
    return found


class Killed(BaseException):
    """What a kill is to a test: from then on nothing the process does reaches the disk."""


class Killer:
    """Counts every call that changes the disk, and ends the process before or after one of them."""

    def __init__(self, patch, moment, after):
        self.left, self.after, self.dead = moment, after, False
        for name in ("link", "unlink", "rmdir", "mkdir", "symlink", "replace", "fsync", "utime"):
            patch.setattr(os, name, self.wrap(getattr(os, name)))
        patch.setattr(moves, "_rename_exclusively", self.wrap(moves._rename_exclusively))
        patch.setattr(ledger.Ledger, "note", self.wrap(ledger.Ledger.note, self.torn))

    def torn(self, self_ledger, line, **_):
        self_ledger.file.write(json.dumps(line)[:5])
        self_ledger.file.flush()

    def wrap(self, call, half=None):
        def wrapped(*arguments, **options):
            if self.dead:
                raise Killed
            self.left -= 1
            if self.left == 0:
                if half:
                    half(*arguments, **options)
                elif self.after:
                    call(*arguments, **options)
                self.dead = True
                raise Killed
            return call(*arguments, **options)

        return wrapped
