"""Runs: the table of those in a folder, and several of them compared.

In: run folders as `train` leaves them. Out: rows for a table; a `Comparison` on the pictures they were scored on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import duration
from shoebox.base.recipe import Recipe
from shoebox.evaluation.compare import Comparison, compare
from shoebox.evaluation.evaluation import Evaluation


def list_runs(folder: Path | str = "runs") -> list[dict[str, Any]]:
    """Every run in a folder and below it, the newest first.

    Returns:
        a row a run: run (its folder), state ("finished" or "stopped"), model, epochs, part, accuracy, macro_f1
        (numbers or None), time, MB (its weights), when.

    Raises:
        UsageError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: name the one that holds your runs")
    found = sorted(folder.rglob("recipe.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [_row(path.parent) for path in found if (path.parent / "run.json").is_file()]


def compare_runs(runs: Sequence[Path | str], *, part: str | None = None, chain: bool = False) -> Comparison:
    """Compare runs on the pictures that all of them were scored on.

    Args:
        runs: two or more folders.
        part: "test" or "val"; by default test where all have one, else val.
        chain: hold each against the one before it rather than against the first.

    Raises:
        UsageError: a folder has no evaluation of that part; or as `shoebox.evaluation.compare.compare`.
    """
    folders = [Path(run) for run in runs]
    if part is None:
        part = "test" if all((folder / "test.npz").is_file() for folder in folders) else "val"
    for folder in folders:
        if not (folder / f"{part}.npz").is_file():
            raise UsageError(f"{folder} has no {part}.npz: it is no finished run with a {part} part")
    names = names_of(folders)
    evaluations = {name: Evaluation.load(folder / f"{part}.npz") for name, folder in zip(names, folders, strict=True)}
    if len(evaluations) < len(folders):
        raise UsageError("a run is named twice")
    return compare(evaluations, chain=chain, costs=dict(zip(names, map(cost, folders), strict=True)))


def comparison_text(comparison: Comparison, table: str, most: int = 5) -> str:
    """A comparison for a terminal: its table, then each pair's verdict and a few of the pictures that changed."""
    lines = [f"{comparison.pictures:,} pictures of the {comparison.part} part", "", table]
    for pair in comparison.pairs:
        lines += ["", pair.verdict]
        for title, paths in (("newly right", pair.newly_right), ("newly wrong", pair.newly_wrong)):
            more = f", and {len(paths) - most:,} more" if len(paths) > most else ""
            lines.append(f"  {len(paths):,} {title}{': ' if paths else ''}{', '.join(paths[:most])}{more}")
    return "\n".join(lines)


def names_of(folders: Sequence[Path]) -> list[str]:
    """What to call runs: the name of the folder, or its path where two have the same name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def cost(folder: Path) -> dict[str, Any]:
    """What a run took: time (seconds of training and scoring), MB (of weights)."""
    result = _result(folder)
    weights = folder / "model.safetensors"
    return {
        "seconds": result.get("seconds"),
        "MB": round(weights.stat().st_size / 1e6, 2) if weights.is_file() else None,
    }


def _row(folder: Path) -> dict[str, Any]:
    result = _result(folder)
    part = "test" if result.get("test") else "val"
    figures = result.get(part) or _last_epoch(folder)
    took = cost(folder)
    return {
        "run": str(folder),
        "state": "finished" if result else "stopped",
        "model": result.get("model") or Recipe.load(folder / "recipe.yaml").model,
        "epochs": result.get("epochs") or int(figures.get("epoch", 0)),
        "part": part,
        "accuracy": figures.get("accuracy"),
        "macro_f1": figures.get("macro_f1"),
        "time": duration(took["seconds"]) if took["seconds"] else None,
        "MB": took["MB"],
        "when": datetime.fromtimestamp((folder / "recipe.yaml").stat().st_mtime).isoformat(" ", "minutes"),
    }


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as e:
        raise ShoeboxError(f"{path} cannot be read ({e}): resume the run to write it anew") from None
    return found


def _last_epoch(folder: Path) -> dict[str, float]:
    """The newest validation figures of a run that has not ended, and its last epoch's number."""
    path = folder / "history.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {key.removeprefix("val_"): float(value) for row in rows for key, value in row.items() if value}
