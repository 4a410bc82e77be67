"""What a report tells, gathered from a run: scores, map, heat maps, neighbours, thumbnails, facts.

In: a classifier, its run's folder, and pictures if not its own. Out: a `Report` (`shoebox.evaluation.report`).
"""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import QUIET, Progress, duration
from shoebox.base.tables import speakable
from shoebox.base.version import VERSION
from shoebox.classifier import Classifier
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, pack
from shoebox.evaluation.embedding import by_share, choose, make_map, nearest
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.explain import heat_maps
from shoebox.evaluation.gallery import Gallery, Neighbour, coarse
from shoebox.evaluation.intervals import intervals
from shoebox.evaluation.report import TILES, Report
from shoebox.evaluation.slices import slices
from shoebox.evaluation.text import visible
from shoebox.evaluation.thumbnails import thumbnails
from shoebox.evaluation.verdict import PART_NAMES, verdict
from shoebox.models.summary import summary

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3000  # pictures of the gallery and the map
LEARNT = 2000  # training pictures among which neighbours are sought, every class by its share
NEIGHBOURS = 3
PICTURE_BYTES, NEIGHBOUR_BYTES = 6_500_000, 1_800_000  # as a page of 15 MB has room for, in base 64
HEAT_SECONDS, LEARN_SECONDS = 12.0, 8.0  # for the heat maps, and for looking at training pictures
CHUNK = 64


def gather(
    classifier: Classifier,
    run: Path,
    data: str | Path | None = None,
    part: str | None = None,
    *,
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
    rows = choose(evaluation, SHOWN)
    progress.say(f"laying out a map of {len(rows):,} pictures")
    shown = make_map(evaluation, method, most=SHOWN)
    few = index.only("train")
    few = few.take(by_share(np.maximum(few.labels, 0), LEARNT))
    learnt = pack(few, classifier.preprocess, cache=cache, progress=progress) if len(few) else None
    history = pd.read_csv(run / "history.csv") if (run / "history.csv").is_file() else None
    measured = intervals(evaluation, tuple(TILES))
    kinds = tuple(slices(evaluation, packed))
    counts = index.only("train").labels
    learnt_from = tuple(np.bincount(counts[counts >= 0], minlength=len(index.classes)).tolist()) if len(counts) else ()
    return Report(
        title=visible(speakable(str(classifier.card.get("name") or run.resolve().name))),
        subtitle=subtitle(classifier, evaluation),
        evaluation=evaluation,
        intervals=measured,
        verdict=verdict(evaluation, measured, history, learnt_from or None, kinds),
        gallery=fill_gallery(classifier, evaluation, packed, rows, learnt, progress),
        map=shown,
        history=history,
        learnt_from=learnt_from,
        slices=kinds,
        network=summary(classifier.pipeline.network, classifier.preprocess.size),
        facts=facts(classifier, evaluation, index, packed, history),
        recipe=(run / "recipe.yaml").read_text(encoding="utf-8") if (run / "recipe.yaml").is_file() else "",
        notes=notes(classifier, index, chosen, packed),
        made=now(),
        version=VERSION,
    )


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
    path = run / f"{part}.npz"
    if not part or not path.is_file():
        return None
    try:
        kept = Evaluation.load(path)
    except ShoeboxError:
        return None
    same = kept.paths == packed.index.paths and np.array_equal(kept.labels, packed.index.labels)
    return kept if same and kept.features is not None and kept.classes == packed.index.classes else None


def fill_gallery(
    classifier: Classifier,
    evaluation: Evaluation,
    packed: Pack | Stream,
    rows: NDArray[np.int64],
    learnt: Pack | Stream | None,
    progress: Progress,
) -> Gallery:
    """Thumbnails, heat maps and neighbours of some rows of an evaluation, which are the rows of the pack."""
    near, likeness, training = neighbours(classifier, evaluation, rows, learnt, progress)
    return Gallery(
        rows=rows,
        thumbnails=thumbnails(packed.gather, rows, PICTURE_BYTES),
        heats=heats(classifier, evaluation, packed, rows, progress),
        near=near,
        likeness=likeness,
        training=training,
    )


def heats(
    classifier: Classifier, evaluation: Evaluation, packed: Pack | Stream, rows: NDArray[np.int64], progress: Progress
) -> dict[int, tuple[NDArray[np.uint8], ...]]:
    """Heat maps by place among the rows, mistakes first, for as long as `HEAT_SECONDS` last."""
    deadline = time.monotonic() + HEAT_SECONDS
    wrong = (evaluation.labels != evaluation.predictions)[rows] & evaluation.labelled[rows]
    places = np.argsort(~wrong, kind="stable")
    made: dict[int, tuple[NDArray[np.uint8], ...]] = {}

    def explained(some: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = torch.from_numpy(packed.gather(rows[some])).permute(0, 3, 1, 2)
        return coarse(heat_maps(classifier.pipeline, pictures, classes[rows[some]]))

    starts = range(0, len(places), CHUNK)
    try:
        for start in progress.track(starts, len(starts), "heat maps"):
            if time.monotonic() > deadline:
                break
            some = places[start : start + CHUNK]
            mistaken = some[wrong[some]]
            of_label = dict(zip(mistaken.tolist(), explained(mistaken, evaluation.labels), strict=True))
            for place, heat in zip(some.tolist(), explained(some, evaluation.predictions), strict=True):
                made[place] = (heat, of_label[place]) if place in of_label else (heat,)
    except ShoeboxError as e:  # a network whose layers keep no places
        progress.say(str(e))
    return made


def neighbours(
    classifier: Classifier,
    evaluation: Evaluation,
    rows: NDArray[np.int64],
    learnt: Pack | Stream | None,
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[Neighbour]]:
    """The training pictures that the network finds most alike, among as many as `LEARN_SECONDS` suffice for."""
    empty = np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32), list[Neighbour]()
    if learnt is None or not len(learnt) or evaluation.features is None:
        return empty
    deadline = time.monotonic() + LEARN_SECONDS
    features = []
    starts = range(0, len(learnt), 4 * CHUNK)
    for start in progress.track(starts, len(starts), "training pictures"):
        if time.monotonic() > deadline:
            break
        some = np.arange(start, min(start + 4 * CHUNK, len(learnt)))
        scored = classifier.score(learnt, some).features
        assert scored is not None
        features.append(scored)
    if not features:
        return empty
    near, likeness = nearest(evaluation.features[rows], np.concatenate(features), NEIGHBOURS)
    used, places = np.unique(near, return_inverse=True)
    small = thumbnails(learnt.gather, used, NEIGHBOUR_BYTES)
    index = learnt.index
    training = [
        Neighbour(index.paths[row], int(index.labels[row]), thumbnail)
        for row, thumbnail in zip(used.tolist(), small, strict=True)
    ]
    return places.reshape(near.shape), likeness, training


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
        ("Input", f"{preprocess.size} × {preprocess.size} px, {preprocess.fit}"),
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
