"""What a report tells, gathered from a run: scores, map, pictures, promises, corruptions, facts.

In: a classifier, its run's folder, and pictures if not its own. Out: a `Report` (`shoebox.evaluation.report`).
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import QUIET, Progress, duration
from shoebox.base.tables import speakable
from shoebox.base.version import VERSION
from shoebox.card import FITS
from shoebox.classifier import Classifier
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, pack
from shoebox.data.sources import open_source
from shoebox.deploy.picturing import fill_gallery
from shoebox.evaluation.embedding import by_share, choose, make_map
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import intervals
from shoebox.evaluation.listing import TILES
from shoebox.evaluation.novelty import Apart, fit_novelty, tell_apart
from shoebox.evaluation.report import Report
from shoebox.evaluation.robustness import CORRUPTIONS, MOST, Robustness, robustness
from shoebox.evaluation.slices import slices
from shoebox.evaluation.text import visible
from shoebox.evaluation.trust import taken, trust
from shoebox.evaluation.verdict import PART_NAMES, verdict
from shoebox.models.summary import summary

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3000  # pictures of the gallery and the map
LEARNT = 2000  # training pictures among which neighbours are sought, every class by its share
LEARN_WORK, CORRUPT_WORK = 3e11, 8e11  # multiply-adds, as in `picturing`, for neighbours and for corrupted pictures
SEVERITIES = (1, 3, 5)
LEAST = 200  # pictures below which corruptions are left to `shoebox robustness`
LEAST_KNOWN = 4  # validation pictures without which no threshold can be chosen


def gather(
    classifier: Classifier,
    run: Path,
    data: str | Path | None = None,
    part: str | None = None,
    *,
    foreign: str | Path | None = None,
    method: Literal["tsne", "umap"] = "tsne",
    cache: Path | None = None,
    progress: Progress = QUIET,
) -> Report:
    """Everything that a report tells; arguments and errors as `report`."""
    import pandas as pd

    index = classifier.open_index(data or own_pictures(run), cache=cache, progress=progress)
    packed, chosen = classifier.open_part(index, part, cache=cache, progress=progress)
    evaluation = stored(run, chosen, packed) or classifier.score(
        packed, np.arange(len(packed)), chosen, progress=progress
    )
    validation = kept(run / "val.npz", classifier.classes)
    rows = choose(evaluation, SHOWN)
    progress.say(f"laying out a map of {len(rows):,} pictures")
    shown = make_map(evaluation, method, most=SHOWN)
    layers = summary(classifier.pipeline.network, classifier.preprocess.size)
    work = max(layers.multiply_adds, 1)
    few = index.only("train")
    few = few.take(by_share(np.maximum(few.labels, 0), min(LEARNT, int(LEARN_WORK / work))))
    learnt = pack(few, classifier.preprocess, cache=cache, progress=progress) if len(few) else None
    history = pd.read_csv(run / "history.csv") if (run / "history.csv").is_file() else None
    measured = intervals(evaluation, tuple(TILES))
    kinds = tuple(slices(evaluation, packed))
    counts = index.only("train").labels
    learnt_from = tuple(np.bincount(counts[counts >= 0], minlength=len(index.classes)).tolist()) if len(counts) else ()
    corrupted = corruptions(classifier, packed, work, progress)
    return Report(
        title=visible(speakable(str(classifier.card.get("name") or run.resolve().name))),
        subtitle=subtitle(classifier, evaluation),
        evaluation=evaluation,
        intervals=measured,
        verdict=verdict(evaluation, measured, history, learnt_from or None, kinds, corrupted),
        gallery=fill_gallery(classifier, evaluation, packed, rows, learnt, work, progress),
        map=shown,
        history=history,
        learnt_from=learnt_from,
        slices=kinds,
        trust=trust(evaluation, validation, float(classifier.pipeline.temperature)),
        robustness=corrupted,
        strangers=strangers(classifier, evaluation, validation, foreign, cache, progress),
        network=layers,
        facts=facts(classifier, evaluation, index, packed, history),
        recipe=(run / "recipe.yaml").read_text(encoding="utf-8") if (run / "recipe.yaml").is_file() else "",
        notes=notes(classifier, index, chosen, packed),
        made=now(),
        version=VERSION,
    )


def corruptions(classifier: Classifier, packed: Pack | Stream, work: int, progress: Progress) -> tuple[Robustness, ...]:
    """Accuracy under every corruption, on as many pictures as `CORRUPT_WORK` suffices for; none if those are few."""
    most = min(MOST, int(CORRUPT_WORK / work / (1 + len(SEVERITIES) * len(CORRUPTIONS))))
    if min(most, len(packed)) < LEAST:
        return ()
    rows = np.arange(len(packed))
    measured = robustness(
        lambda seen: classifier.scores(seen)[0], packed, rows, severities=SEVERITIES, most=most, progress=progress
    )
    return tuple(measured)


def strangers(
    classifier: Classifier,
    evaluation: Evaluation,
    validation: Evaluation | None,
    foreign: str | Path | None,
    cache: Path | None,
    progress: Progress,
) -> Apart | None:
    """How well pictures of none of the classes are told from those of the evaluation; None without such.

    Raises:
        UsageError: there are such, but no validation part that a threshold could be chosen on.
    """
    if foreign is None:
        return None
    if validation is None or len(validation) < LEAST_KNOWN:
        raise UsageError("--foreign needs the validation part that the training kept (val.npz): there is none")
    packed = pack(open_source(foreign, cache=cache, progress=progress), classifier.preprocess, cache=cache)
    scored = classifier.score(packed, np.arange(len(packed)), "foreign pictures", progress=progress)
    if validation.paths != evaluation.paths:
        return tell_apart(fit_novelty(validation), evaluation, scored)
    one, two = np.array_split(np.random.default_rng(0).permutation(len(evaluation)), 2)  # none is held against itself
    return tell_apart(fit_novelty(taken(evaluation, one)), taken(evaluation, two), scored)


def now() -> str:
    """The time, or what SOURCE_DATE_EPOCH says it is (reproducible-builds.org/specs/source-date-epoch)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(fixed), timezone.utc) if fixed.isdecimal() else datetime.now()
    return f"{when.day} {when:%B %Y, %H:%M}"


def own_pictures(run: Path) -> Path:
    """The pictures that a run was trained with.

    Raises:
        UsageError: it does not say which, or they are no longer there.
    """
    try:
        root = Path(json.loads((run / "run.json").read_text(encoding="utf-8"))["root"])
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{run} does not say what it was trained with: name the pictures, as in report RUN DATA"
        ) from None
    if not root.exists():
        raise UsageError(f"the pictures that {run} was trained with are no longer in {root}: name their folder")
    return root


def stored(run: Path, part: str, packed: Pack | Stream) -> Evaluation | None:
    """The evaluation that the training kept, if it is of these very pictures and labels."""
    found = kept(run / f"{part}.npz", packed.index.classes) if part else None
    if found is None or found.paths != packed.index.paths:
        return None
    return found if np.array_equal(found.labels, packed.index.labels) else None


def kept(path: Path, classes: tuple[str, ...]) -> Evaluation | None:
    """An evaluation with features that the training kept; None where there is none of these classes."""
    try:
        found = Evaluation.load(path)
    except ShoeboxError:
        return None
    return found if found.features is not None and found.classes == classes else None


def subtitle(classifier: Classifier, evaluation: Evaluation) -> str:
    """The network, the classes and what was measured on, in a line."""
    part = PART_NAMES.get(evaluation.part, "")
    return f"{classifier.model} · {len(classifier.classes):,} classes · {len(evaluation):,} {part} pictures".replace(
        "  ", " "
    )


def facts(
    classifier: Classifier,
    evaluation: Evaluation,
    index: ImageIndex,
    packed: Pack | Stream,
    history: pd.DataFrame | None,
) -> tuple[tuple[str, str], ...]:
    """What was measured, with what, as names and values."""
    card, preprocess = classifier.card, classifier.preprocess
    counts = {part: int((index.part == part).sum()) for part in ("train", "val", "test")}
    split = ", ".join(f"{n:,} {PART_NAMES[part]}" for part, n in counts.items() if n)
    found: list[tuple[str, str]] = [
        ("Pictures", visible(speakable(str(index.root)))),
        ("Split", split or f"none: all {len(evaluation):,} labelled pictures were measured"),
        (
            "Network",
            f"{classifier.model}, {sum(p.numel() for p in classifier.pipeline.network.parameters()):,} parameters",
        ),
        ("Input", f"{preprocess.size} × {preprocess.size} px: {FITS[preprocess.fit]}"),
        ("Temperature", f"{float(classifier.pipeline.temperature):.3f}"),
    ]
    if history is not None and len(history):
        seconds = float(history["seconds"].sum()) if "seconds" in history else float("nan")
        spent = f" in {duration(seconds)}" if np.isfinite(seconds) else ""
        found.append(("Training", f"{len(history)} epochs{spent}, epoch {card.get('best_epoch', '?')} kept"))
    if "runtime" in card:
        found.append(("Machine", str(card["runtime"])))
    if "data" in card:
        found.append(("Fingerprint of the data", str(card["data"])))
    if packed.skipped:
        found.append(("Unreadable", f"{len(packed.skipped):,} files, left out"))
    return tuple(found)


def notes(classifier: Classifier, index: ImageIndex, part: str, packed: Pack | Stream) -> tuple[str, ...]:
    """What the reader must know about how this was measured."""
    said = []
    if part == "train":
        said.append("these pictures were learnt from: on new ones the classifier is worse.")
    if part == "val":
        said.append("the validation pictures also chose the best epoch, so new pictures may do slightly worse.")
    own = classifier.folder is not None and (classifier.folder / "split.csv").is_file()
    if not part and own and index.root == _root(classifier.folder):
        said.append("these pictures changed since the training, so that it may have learnt from some of them.")
    if packed.skipped:
        said.append(f"{len(packed.skipped):,} pictures could not be read and are not counted.")
    return tuple(said)


def _root(run: Path | None) -> Path | None:
    try:
        return own_pictures(run) if run else None
    except UsageError:
        return None
