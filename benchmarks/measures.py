"""Measures: the six figures of an epoch beside scikit-learn's, and the intervals of an evaluation, seconds.

On drawn labels and logits of ten classes, since neither depends on what was in the pictures.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn import metrics as peer

from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import intervals
from shoebox.evaluation.metrics import measure as six
from shoebox.evaluation.metrics import softmax

PICTURES, RESAMPLED, CLASSES = 50_000, 10_000, 10


def measure(data: str, rounds: int = 7) -> dict[str, str | float]:
    """Median seconds of each, in turn; `data` is not read."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, PICTURES)
    logits = random.normal(size=(PICTURES, CLASSES)).astype(np.float32)
    logits[np.arange(PICTURES), labels] += 2
    names = tuple(map(str, range(CLASSES)))
    few = Evaluation(tuple(map(str, range(RESAMPLED))), labels[:RESAMPLED], logits[:RESAMPLED], names)

    def theirs() -> None:
        likely = softmax(logits)
        said = likely.argmax(1)
        peer.accuracy_score(labels, said)
        peer.precision_recall_fscore_support(labels, said, average="macro")
        peer.roc_auc_score(labels, likely, multi_class="ovr")
        peer.log_loss(labels, likely)

    taken: dict[str, list[float]] = {"six": [], "sklearn": [], "intervals": []}
    for _ in range(rounds):
        taken["six"].append(_seconds(lambda: six(labels, logits)))
        taken["sklearn"].append(_seconds(theirs))
        taken["intervals"].append(_seconds(lambda: intervals(few)))
    ours, sklearn, resampled = (statistics.median(taken[name]) for name in ("six", "sklearn", "intervals"))
    return {
        "data": "drawn",
        "six_of_50000_seconds": ours,
        "sklearn_of_50000_seconds": sklearn,
        "times_faster": sklearn / ours,
        "a_thousand_resamples_of_10000_seconds": resampled,
    }


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start
