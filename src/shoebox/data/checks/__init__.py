"""The checks that need no network, a module a group; importing this registers them in `shoebox.data.check.CHECKS`."""

from shoebox.data.checks import classes, duplicates, files, quality, sequences, shapes, shortcuts

__all__ = ["classes", "duplicates", "files", "quality", "sequences", "shapes", "shortcuts"]
