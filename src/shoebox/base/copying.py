"""Copies that a journal makes: many at a time, so that a thousand small files wait for the disk a few times only.

In: a ledger that is open for writing, and numbers of its steps. Out: copies under temporary names, known to the ledger
and on the disk, then under their own.
"""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shoebox.base.ledger import Ledger
from shoebox.base.moves import copy_aside, identity, publish

GROUP = 256
"""Copies that are made before the disk is waited for."""

_WAITING = 16
"""Files whose writing is waited for at once: a file system ends many such waits together."""


def copy_ahead(ledger: Ledger, numbers: Sequence[int]) -> None:
    """Make the copies of those steps that are copies, all under temporary names, and wait for the disk once.

    What cannot be copied is left to `copy_step`, which tries again and says why.
    """
    made = {}
    with contextlib.suppress(OSError):
        for i in numbers:
            step, planned = ledger.steps[i], ledger.identities[i]
            if step.operation == "copy" and identity(step.source) == planned and not os.path.lexists(step.target):
                temporary = ledger.temporary(i, step.target.parent)
                made[i] = temporary, copy_aside(step.source, temporary, durably=False)
    with ThreadPoolExecutor(_WAITING) as threads:
        durable = list(threads.map(_on_disk, (temporary for temporary, _ in made.values())))
    safe = [i for i, on_disk in zip(made, durable, strict=True) if on_disk]
    for i, (temporary, found) in made.items():
        if i in safe:
            ledger.note({"copy": i, "identity": found}, durably=i == safe[-1])
        else:
            temporary.unlink(missing_ok=True)


def copy_step(ledger: Ledger, i: int, source: Path, target: Path) -> None:
    """Give a step's copy its name; make the copy first where `copy_ahead` has not. The folder is not waited for.

    Raises:
        FileExistsError: the target exists.
        OSError: as the system says; no copy is left.
    """
    temporary = ledger.temporary(i, target.parent)
    if identity(temporary) not in ledger.copies.get(i, ()):
        ledger.note({"copy": i, "identity": copy_aside(source, temporary)}, durably=True)
    try:
        publish(temporary, target)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _on_disk(path: Path) -> bool:
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError:
        return False
    return True
