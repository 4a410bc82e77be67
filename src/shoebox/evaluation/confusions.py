"""Which class is taken for which, the most frequent first.

In: an Evaluation. Out: `Confusion`s, each with the rows of its pictures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class Confusion:
    """Pictures of one class that were taken for another.

    Attributes:
        true, predicted: positions among the classes.
        rows: (n,) int64 of the evaluation, those the classifier was surest of first.
        share: of the true class's pictures, 0…1.
    """

    true: int
    predicted: int
    rows: NDArray[np.int64]
    share: float


def confusions(evaluation: Evaluation, most: int = 10) -> list[Confusion]:
    """The most frequent mistakes, by how many pictures they concern, then by their share of the true class."""
    wrong = evaluation.wrong()
    labels, predictions = evaluation.labels[wrong], evaluation.predictions[wrong]
    classes = len(evaluation.classes)
    support = np.bincount(evaluation.labels[evaluation.labelled], minlength=classes)
    pairs, counts = np.unique(labels * classes + predictions, return_counts=True)
    order = np.lexsort((pairs, -counts / support[pairs // classes], -counts))[:most]
    return [
        Confusion(true, predicted, rows, len(rows) / int(support[true]))
        for pair in pairs[order].tolist()
        for true, predicted in [divmod(pair, classes)]
        for rows in [wrong[(labels == true) & (predictions == predicted)]]
    ]


def order_by_confusion(evaluation: Evaluation) -> NDArray[np.int64]:
    """(K,) the classes in an order that puts those often confused side by side.

    Leaves of the average-linkage clustering of the classes, like to each other as far as each is taken for the other;
    classes that are never confused with any other stay in their own order.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    counts = evaluation.confusion().astype(np.float64)
    classes = len(counts)
    if classes < 3 or counts.sum() == np.trace(counts):
        return np.arange(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alike = (shares + shares.T) / 2
    np.fill_diagonal(alike, 0)
    distance = 1 - alike / alike.max()
    np.fill_diagonal(distance, 0)
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), "average")), dtype=np.int64)
