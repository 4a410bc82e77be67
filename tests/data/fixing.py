"""What tests of fixing share: a random data set, a random list of what is wrong with it, and what the disk holds.

As a program it fixes, is killed with signal 9 at random moments, and goes on or takes back, data set after data set:

    python tests/data/fixing.py FOLDER KILLS
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "base"))
from killing import picture_of

from shoebox.base.errors import UsageError
from shoebox.base.journal import undo_last
from shoebox.base.ledger import journals, read_ledger
from shoebox.base.tables import write_rows
from shoebox.data.check import COLUMNS
from shoebox.data.fix import ACTIONS, fix

CLASSES = ("cat", "=dog", "bad\udcff")
NAMES = ("a.png", "A.png", "b b.png", "ü\U0001f600.png", "new\nline.png", "odd\udcfe.png", "=x().png", "in/a.png")


def plant(root, files):
    """Make files (path → bytes), each with times of its own."""
    for i, (name, content) in enumerate(sorted(files.items())):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(i, 10**18 + i))


def write_table(path, rows):
    """A check.csv of rows (path, action, suggested); the label is the path's first folder that is a class."""
    table = [
        {"check": "any", "severity": "note", "path": name, "action": action, "suggested": suggested}
        | {"label": next((part for part in name.split("/") if part in CLASSES), ""), "group": "", "detail": ""}
        for name, action, suggested in rows
    ]
    write_rows(path, table, COLUMNS)
    return path


def seen(root):
    """What a person has below a folder: Shoebox's own shelf left out."""
    return {name: what for name, what in picture_of(root).items() if f"{os.sep}.shoebox" not in name}


def contents(root):
    """How often each content is there, set aside or not."""
    return Counter(
        what[0] for name, what in picture_of(root).items() if isinstance(what, tuple) and name.endswith("png")
    )


def take_all_back(root):
    """Undo until nothing is left to undo."""
    while True:
        try:
            _, outcome = undo_last(root)
        except UsageError:
            return
        assert not outcome.failures, outcome.failures


def main(folder, kills):
    """See the module's docstring."""
    draw = random.Random(0)
    killed = done = 0
    while killed < kills:
        root = folder / f"round-{done}"
        base = ("", "train/")[done % 2]
        files = {
            f"{base}{c}/{n}": os.urandom(20) for c in CLASSES for n in NAMES for _ in range(2) if draw.random() < 0.9
        }
        plant(root, files)
        rows = [(name, draw.choice(ACTIONS), draw.choice(CLASSES)) for name in files if draw.random() < 0.7]
        table = write_table(folder / f"check-{done}.csv", rows)
        before, held = seen(root), contents(root)
        undoing = False
        for attempt in range(1, 200):
            move, actions = draw.random() < 0.6, draw.sample(ACTIONS, 2)
            child = os.fork()
            if not child:
                if undoing:
                    take_all_back(root)
                else:
                    fix(os.fspath(root), table, actions=actions, move=move)
                os._exit(0)
            time.sleep(draw.uniform(0, 0.01 * attempt))  # on a busy machine, too, one attempt gets to the end
            os.kill(child, signal.SIGKILL)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert ended in (0, -signal.SIGKILL), "it failed by itself"
            killed += ended != 0
            assert contents(root) == held, "a picture is gone, or has changed"
            if undoing and ended == 0:
                break
            undoing = undoing or draw.random() < 0.3
        assert seen(root) == before, "an undo restores every byte and name"
        assert not any(read_ledger(path).stands for path in journals(root))
        done += 1
    print(f"{killed} kills in {done} data sets")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
