"""What there is to see of pictures, made with the network: thumbnails, heat maps, the nearest training pictures.

In: a classifier, an evaluation and the pictures it scored. Out: a `Gallery` (`shoebox.evaluation.gallery`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import Progress
from shoebox.classifier import Classifier
from shoebox.data.pack import Pack, Stream
from shoebox.evaluation.embedding import nearest
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.explain import heat_maps
from shoebox.evaluation.gallery import Gallery, Neighbour, coarse
from shoebox.evaluation.thumbnails import thumbnails

NEIGHBOURS = 3
PICTURE_BYTES, NEIGHBOUR_BYTES = 7_400_000, 1_600_000  # as a page of 15 MB has room for, in base 64
# Multiply-adds, of which two cores do about 1e11 a second: counted, not timed, so that a run gives one page.
HEAT_WORK = 9e11
BACK = 3  # passes forward that a heat map costs: one, and the way back
CHUNK = 64


def fill_gallery(
    classifier: Classifier,
    evaluation: Evaluation,
    packed: Pack | Stream,
    rows: NDArray[np.int64],
    learnt: Pack | Stream | None,
    work: int,
    progress: Progress,
) -> Gallery:
    """Thumbnails, heat maps and neighbours of some rows of an evaluation, which are the rows of the pack.

    Args:
        learnt: training pictures among which neighbours are sought, if any are known.
        work: multiply-adds of the network for one picture.
    """
    near, likeness, training = neighbours(classifier, evaluation, rows, learnt, progress)
    return Gallery(
        rows=rows,
        thumbnails=two_sizes(packed, rows, np.isin(rows, evaluation.wrong())),
        heats=heats(classifier, evaluation, packed, rows, int(HEAT_WORK / BACK / max(work, 1)), progress),
        near=near,
        likeness=likeness,
        training=training,
    )


def two_sizes(packed: Pack | Stream, rows: NDArray[np.int64], larger: NDArray[np.bool_]) -> list[bytes]:
    """Thumbnails of some rows, those that are looked at most as large as there is room for."""
    large = thumbnails(packed.gather, rows[larger], int(0.58 * PICTURE_BYTES))
    small = thumbnails(packed.gather, rows[~larger], PICTURE_BYTES - sum(map(len, large)))
    of_larger, of_others = iter(large), iter(small)
    return [next(of_larger if one else of_others) for one in larger.tolist()]


def heats(
    classifier: Classifier,
    evaluation: Evaluation,
    packed: Pack | Stream,
    rows: NDArray[np.int64],
    most: int,
    progress: Progress,
) -> dict[int, tuple[NDArray[np.uint8], ...]]:
    """Up to `most` heat maps by place among the rows: mistakes first, the surest first; a mistake has two, of the
    predicted and of the true class."""
    wrong = (evaluation.labels != evaluation.predictions)[rows] & evaluation.labelled[rows]
    places = np.lexsort((-evaluation.confidences[rows], ~wrong))
    places = places[np.cumsum(1 + wrong[places]) <= most]
    made: dict[int, tuple[NDArray[np.uint8], ...]] = {}

    def explained(some: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = torch.from_numpy(packed.gather(rows[some])).permute(0, 3, 1, 2)
        return coarse(heat_maps(classifier.pipeline, pictures, classes[rows[some]]))

    starts = range(0, len(places), CHUNK)
    try:
        for start in progress.track(starts, len(starts), "heat maps"):
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
    """The training pictures that the network finds most alike, as the last three fields of a `Gallery`."""
    if learnt is None or not len(learnt) or evaluation.features is None:
        return np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32), []
    features = classifier.score(learnt, np.arange(len(learnt)), "training pictures", progress=progress).features
    assert features is not None
    near, likeness = nearest(evaluation.features[rows], features, NEIGHBOURS)
    used, places = np.unique(near, return_inverse=True)
    small = thumbnails(learnt.gather, used, NEIGHBOUR_BYTES)
    index = learnt.index
    training = [
        Neighbour(index.paths[row], int(index.labels[row]), thumbnail)
        for row, thumbnail in zip(used.tolist(), small, strict=True)
    ]
    return places.reshape(near.shape), likeness, training
