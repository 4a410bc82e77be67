"""A ladder: one data set, several runs that each change one thing, side by side.

In: a YAML file of shared settings and, under `steps`, what each step changes. Out: a folder with a run a step, a table
and a figure of them all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from shoebox.base.errors import UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress, duration
from shoebox.base.recipe import Recipe, recipe_file
from shoebox.data.sources import open_source
from shoebox.evaluation.compare import Comparison, compare, shown
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.figures import FIGURES, write_figures
from shoebox.training.train import free_folder, train

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Ladder:
    """Steps by name, in order, each a whole recipe."""

    steps: dict[str, Recipe]

    @classmethod
    def load(cls, name: str | Path, settings: dict[str, Any]) -> Ladder:
        """Read a shipped ladder by name, or a YAML file; `settings` go into every step.

        Raises:
            UsageError: no such file, no steps, or a step that is no recipe.
        """
        path = recipe_file(name)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = content.pop("steps", None) if isinstance(content, dict) else None
        if not isinstance(steps, dict) or not all(isinstance(changes, dict) for changes in steps.values()):
            raise UsageError(f"{path} is not a ladder: expected steps, each a name with the settings it changes")
        return cls(
            {
                str(step): Recipe.parse({**content, **changes, **settings}, f"{path}, {step}")
                for step, changes in steps.items()
            }
        )


def climb(
    data: str | Path,
    recipe: str | Path = "cifar-ladder",
    *,
    run: Path | str | None = None,
    resume: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    progress: Progress = QUIET,
    **settings: Any,
) -> dict[str, Any]:
    """Train every step of a ladder on the same split and compare them.

    Args:
        run: the folder to make, with a run a step in it.
        resume: continue in that folder: finished steps are kept, a stopped one goes on.
        settings: fields to replace in every step, e.g. `epochs=5`.

    Returns:
        run (folder), steps (a row each, as `steps_table`), verdicts (a sentence a step from the second on: whether it
        differs significantly from the one before), figure (path), table (Markdown).
    """
    ladder = Ladder.load(recipe, settings)
    index = open_source(data, cache=cache, progress=progress)
    folder = Path(run) if run is not None else free_folder(Path("runs"), f"{index.root.name}-ladder")
    results = {}
    for number, (name, step) in enumerate(ladder.steps.items(), 1):
        progress.say(f"\nstep {number} of {len(ladder.steps)}: {name}")
        place = folder / f"{number}-{name.strip('+ ').replace(' ', '-')}"
        done = place / "result.json"
        if resume and done.is_file():
            results[name] = json.loads(done.read_text(encoding="utf-8"))
            continue
        results[name] = train(
            index, step, run=place, resume=resume and place.exists(), device=device, cache=cache, progress=progress
        ).result
    comparison = compare_steps(results)
    table = steps_table(results, comparison)
    verdicts = [pair.verdict for pair in comparison.pairs] if comparison else []
    text = as_markdown(table) + "".join(f"\n{verdict}\n" for verdict in verdicts)
    with atomic_write(folder / "ladder.md", "w") as file:
        file.write(text)
    histories = {name: _history(Path(result["run"])) for name, result in results.items()}
    figure = write_figures(folder, {"ladder": FIGURES["ladder"](histories, table)})[0]
    return {
        "run": str(folder),
        "steps": table.to_dict("records"),
        "verdicts": verdicts,
        "figure": str(figure),
        "table": text,
    }


def compare_steps(results: dict[str, dict[str, Any]]) -> Comparison | None:
    """Hold every step against the one before it, on the pictures that all were scored on; None where none were."""
    for part in ("test", "val"):
        files = {name: Path(result["run"]) / f"{part}.npz" for name, result in results.items()}
        if len(files) > 1 and all(file.is_file() for file in files.values()):
            return compare({name: Evaluation.load(file) for name, file in files.items()}, chain=True)
    return None


def steps_table(results: dict[str, dict[str, Any]], comparison: Comparison | None) -> pd.DataFrame:
    """One row a step: what it scored on the test part (validation where there is none), how long it took.

    Where the steps were compared, also the accuracy gained over the step before, in points with its 95 % interval, and
    whether that is significant, with the p-value.
    """
    import pandas as pd

    pairs = {pair.name: pair for pair in comparison.pairs} if comparison else {}
    rows = []
    for name, result in results.items():
        figures = result["test"] or result["val"]
        row = {
            "step": name,
            "part": "test" if result["test"] else "val",
            "accuracy": figures["accuracy"],
            "macro_f1": figures["macro_f1"],
            "log_loss": figures["log_loss"],
            "epochs": result["epochs"],
            "time": duration(result["seconds"]),
        }
        if comparison:
            row |= {"gain": "", "significant": ""}
        if pair := pairs.get(name):
            value, low, high = (100 * end for end in pair.differences["accuracy"])
            row["gain"] = f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
            row["significant"] = f"{'yes' if pair.significant else 'no'}, p = {shown(pair.p)}"
        rows.append(row)
    return pd.DataFrame(rows)


def as_markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, numbers to four places."""
    cells = [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _history(run: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(run / "history.csv")
