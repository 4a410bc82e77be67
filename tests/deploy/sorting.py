"""What tests of sorting share: a classifier that goes by colour and needs no network, and what a tree of files holds.

As a program it sorts, is killed with signal 9 at random moments, and goes on or takes back, folder after folder:

    python tests/deploy/sorting.py FOLDER KILLS
"""

import hashlib
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from shoebox.base.journal import undo_last
from shoebox.base.ledger import journals, read_ledger
from shoebox.data.preprocess import Preprocess
from shoebox.deploy import sort as sorting
from shoebox.evaluation.evaluation import Evaluation

CLASSES = ("red", "green", "blue")


class Colours:
    """A backend: the class is the strongest colour, the confidence its share."""

    name, classes, preprocess, workers, batch = "colours", CLASSES, Preprocess(store=4, size=4), 1, 8

    def scores(self, pictures):
        means = pictures.mean(axis=(1, 2)).astype(np.float32) + 1
        return means / means.sum(axis=1, keepdims=True), means


def make_run(folder):
    """A folder with the one thing that `sort` reads itself: what the classifier said of 200 validation pictures."""
    folder.mkdir()
    labels = np.arange(200) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * 3
    features = (logits + np.random.default_rng(0).normal(0, 0.1, (200, 3))).astype(np.float16)
    Evaluation(tuple(map(str, range(200))), labels, logits, CLASSES, features, "val").save(folder / "val.npz")
    return folder


def make_picture(path, colour):
    """A picture whose bytes no other has, unless it has the same colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path, "PNG")


def sort_all(run, pile, to, how="copy"):
    return sorting.sort(run, pile, to, how=how, threshold=0.6, unknown=0, agree=lambda plan: True)


def names(root):
    """Every file below a folder and what it holds; what Shoebox itself wrote left out."""
    return {
        os.fspath(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and ".shoebox" not in path.parts and not path.name.startswith(("predictions", "."))
    }


def held(*roots):
    """How often each content is there."""
    return Counter(digest for root in roots for digest in names(root).values())


def take_part(run, pile, to, how):
    """What a child does: sorts, or takes back where `how` is None."""
    if how is not None:
        sort_all(run, pile, to, how)
    elif any(read_ledger(path).stands for path in journals(to)):
        undo_last(to)


def main(folder, kills):
    """See the module's docstring."""
    sorting.open_backend = lambda *a, **k: Colours()
    draw = random.Random(0)
    run = make_run(folder / "run")
    killed = done = 0
    while killed < kills:
        root = folder / f"round-{done}"
        pile, to = root / "pile", root / "to"
        for i in range(30):
            make_picture(pile / f"{i % 4}" / f"{i % 7}.png" if i % 3 else pile / f"{i}.png", (i * 8, 60, 255 - i * 8))
        to.mkdir()
        before, how = names(pile), ("copy", "move", "link")[done % 3]
        undoing = False
        for attempt in itertools.count(1):
            child = os.fork()
            if not child:
                take_part(run, pile, to, None if undoing else how)  # an error ends the child with code 1
                os._exit(0)
            time.sleep(draw.uniform(0, 0.02 * attempt))  # on a busy machine, too, one attempt gets to the end
            os.kill(child, signal.SIGKILL)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert ended in (0, -signal.SIGKILL), "it failed by itself"
            killed += ended != 0
            now = held(pile, to)
            assert set(now) == set(Counter(before.values())), "a content is gone, or a new one has come"
            assert all(now[digest] >= count for digest, count in Counter(before.values()).items())
            if ended == 0 and undoing:
                break
            undoing = undoing or (ended == 0) or draw.random() < 0.1
            if undoing and not list((to / ".shoebox").glob("*.journal")):
                undoing = False
        assert names(pile) == before, "an undo restores every name"
        assert not names(to)
        done += 1
    print(f"{killed} kills in {done} sorts")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
