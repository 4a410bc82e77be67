"""Label suspects against real human label noise: CIFAR-10N put on the training pictures of CIFAR-10.

Precision and recall of the suspects against the clean labels, and the area under the precision-recall curve of their
order, beside cleanlab used plainly (`find_label_issues`, self-confidence) on the probe's probabilities.

Needs `cifar10n_labels.npz` (UCSC-REAL/cifar-10-100n; arrays clean_label, aggre_label, …) beside `--data`, or in the
folder named by the environment's BESIDE. `--data` is a folder with a folder a class, in which the n-th file is the n-th
picture of its class in the original order. A backbone is taken from `weights/mobilenet_v2.safetensors` there, if it is.
NOISE="aggre_label random_label1" chooses among the labels.
"""

import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.progress import progress_for
from shoebox.data.check import gather
from shoebox.data.index import ImageIndex
from shoebox.data.sources import open_source
from shoebox.data.survey import survey
from shoebox.evaluation.label_issues import called_wrong, joined, suspicion
from shoebox.training.learnt import learn


def measure(data: str) -> dict[str, Any]:
    """By kind of noise: precision, recall, area under the precision-recall curve, of Shoebox and of plain cleanlab."""
    beside = Path(os.environ.get("BESIDE", Path(data).parent))
    noise = np.load(beside / "cifar10n_labels.npz")
    weights = beside / "weights" / "mobilenet_v2.safetensors"
    index = open_source(data)
    clean = index.labels
    where = in_original_order(index, noise["clean_label"])
    kinds = os.environ.get("NOISE", "aggre_label random_label1 worse_label").split()
    result: dict[str, Any] = {"case": "-".join(["cifar10n", *(kind.partition("_")[0] for kind in kinds)])}
    for kind in kinds:
        start = time.monotonic()
        noisy = replace(index, labels=noise[kind][where].astype(np.int64))
        evidence = gather(noisy, survey(noisy))
        learnt = learn(
            noisy, evidence.twins.clusters(), weights if weights.exists() else None, progress=progress_for(quiet=False)
        )
        labels, wrong = noisy.labels[learnt.rows], noisy.labels[learnt.rows] != clean[learnt.rows]
        joint = joined(learnt, labels)
        result[kind] = {
            "wrong": float(wrong.mean()),
            "shoebox": scored(wrong, called_wrong(labels, joint), suspicion(labels, joint)),
            "cleanlab": plain(wrong, labels, learnt.probabilities),
            "probabilities_right": float((joint.argmax(1) == clean[learnt.rows]).mean()),
            "seconds": time.monotonic() - start,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
    return result


def in_original_order(index: ImageIndex, clean: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """(N,) the place of each row in the original order: the n-th file of a class is the n-th with that clean label."""
    where = np.empty(len(index), np.int64)
    order = np.array(sorted(range(len(index)), key=index.paths.__getitem__))
    for label in range(len(index.classes)):
        where[order[index.labels[order] == label]] = np.flatnonzero(clean == label)
    return where


def scored(wrong: NDArray[np.bool_], called: NDArray[np.bool_], order: NDArray[np.float64]) -> dict[str, float]:
    """Precision and recall of what is called wrong, and the area under the precision-recall curve of the order."""
    from sklearn.metrics import average_precision_score

    found = float((wrong & called).sum())
    return {
        "called": int(called.sum()),
        "precision": found / max(called.sum(), 1),
        "recall": found / max(wrong.sum(), 1),
        "auprc": float(average_precision_score(wrong, order)),
    }


def plain(wrong: NDArray[np.bool_], labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """The same of cleanlab by itself."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return scored(wrong, find_label_issues(labels, probabilities, n_jobs=1), 1 - quality)
