"""What a run's folder says of the run: its settings, its split, its history.

`recipe.yaml` (nothing left open), `run.json` (the data's fingerprint, the normalisation), `split.csv`, `skipped.csv`,
`history.csv`. Whoever resumes is held to them.
"""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.recipe import Recipe
from shoebox.data.index import ImageIndex, Skipped
from shoebox.data.preprocess import Preprocess
from shoebox.data.split import write_split
from shoebox.training.planner import Plan

FREE_TO_CHANGE = {"about", "epochs", "minutes", "accuracy", "patience", "keep", "tensorboard", "tracking"}
"""Settings that a resumed run may change: they say how long to go on, not what is being trained."""


def make_writable(folder: Path) -> None:
    """Make the run's folder and see that files can be written there, before any work is done.

    Raises:
        UsageError: it cannot be made, or is read-only.
    """
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "probe") as file:
            file.write(b"")
        (folder / "probe").unlink()
    except OSError as e:
        raise UsageError(f"cannot write to {folder} ({e.strerror}): choose another folder with --run") from None


def write_down(folder: Path, plan: Plan, index: ImageIndex, skipped: Sequence[Skipped]) -> None:
    """Record a run that starts."""
    with atomic_write(folder / "recipe.yaml", "w") as file:
        file.write(plan.recipe.to_yaml())
    with atomic_write(folder / "run.json", "w") as file:
        json.dump({"data": index.fingerprint(), "root": str(index.root), "preprocess": plan.preprocess.to_dict()}, file)
    write_split(index, folder / "split.csv")
    with atomic_write(folder / "skipped.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "reason"])
        writer.writerows([os.fsencode(s.path).decode("utf-8", "backslashreplace"), s.reason] for s in skipped)


def data_of(folder: Path) -> str:
    """The fingerprint of the pictures that the run in `folder` began with."""
    return str(json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"])


def filled_in(folder: Path, recipe: Recipe) -> Recipe:
    """A resumed run's recipe: what it leaves open is as the stopped run decided it.

    How long to go on is open where it names neither epochs nor minutes.
    """
    before = Recipe.load(folder / "recipe.yaml").model_dump()
    settings = recipe.model_dump()
    lasting = {"epochs", "patience"} if recipe.epochs is None and recipe.minutes is None else set()
    may = (settings.keys() - FREE_TO_CHANGE) | lasting
    open_fields = [k for k, value in settings.items() if value in (None, "auto") and k in may]
    return recipe.override({name: before[name] for name in open_fields})


def hold_equal(folder: Path, plan: Plan, index: ImageIndex) -> Preprocess:
    """See that a resumed run trains what the stopped one did, and give the preprocessing it was trained with.

    Raises:
        UsageError: the data or a setting differs; the message names each difference.
        ShoeboxError: the folder's own record is missing or damaged.
    """
    before = Recipe.load(folder / "recipe.yaml").model_dump()
    now = plan.recipe.model_dump()
    differ = [f"{k}: {before[k]!r} → {now[k]!r}" for k in now if k not in FREE_TO_CHANGE and before[k] != now[k]]
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        same_data = record["data"] == index.fingerprint()
        preprocess = Preprocess.from_dict(record["preprocess"])
    except (OSError, ValueError, KeyError) as e:
        raise ShoeboxError(f"{folder / 'run.json'} cannot be read ({e}): start anew in another folder") from None
    if not same_data:
        differ.append(f"the pictures in {index.root} (files were added, removed or changed)")
    if differ:
        raise UsageError(f"cannot continue {folder}, since what it trains has changed: {'; '.join(differ)}")
    return preprocess


def write_history(folder: Path, history: Sequence[dict[str, float]]) -> None:
    """Write `history.csv`, one row an epoch."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with atomic_write(folder / "history.csv", "w") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(history)
