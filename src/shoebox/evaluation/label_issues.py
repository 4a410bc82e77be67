"""Labels that are probably wrong: confident learning, on probabilities that no picture had a part in itself.

In: labels, out-of-fold probabilities of a probe, features. Out: how suspicious each label is, which ones are called
wrong, and a better label. What is called wrong is decided by cleanlab (Northcutt, Jiang and Chuang 2021, "Confident
Learning", jair.org/index.php/jair/article/view/12125); the order, worst first, by the probability of the given label.
The probabilities are the probe's joined with a vote of the nearest neighbours: they err on different pictures.
"""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import MissingExtra
from shoebox.data.check import CHECKS, Evidence, Finding, Learnt
from shoebox.evaluation.neighbours import votes

PROBE = 0.5
"""Weight of the probe against the vote, in logarithms. Of 0.3, 0.5, 0.7 and 1 on CIFAR-10N, 0.3 and 0.5 are best."""
SURE = 0.5
"""The joint probability of the suggested label from which on `shoebox fix --relabel` takes it up."""


@CHECKS.register
def label_suspects(evidence: Evidence) -> Finding | None:
    """Pictures whose label is probably wrong."""
    learnt = evidence.learnt
    if learnt is None:
        return None
    labels = evidence.index.labels[learnt.rows]
    joint = joined(learnt, labels)
    issues = called_wrong(labels, joint)
    order = np.flatnonzero(issues)[np.argsort(-suspicion(labels, joint)[issues], kind="stable")]
    table = []
    for i in order.tolist():
        best = int(joint[i].argmax())
        given, seen = joint[i, labels[i]], joint[i, best]
        if best == labels[i]:
            continue
        table.append(
            evidence.row(
                int(learnt.rows[i]),
                f"{seen:.0%} {evidence.index.classes[best]}, {given:.0%} as labelled",
                suggested=evidence.index.classes[best],
                action="relabel" if seen >= SURE else "",
            )
        )
    share = len(table) / max(len(labels), 1)
    return Finding(
        "warning",
        len(table),
        f"labels that are probably wrong ({share:.1%}), by {learnt.how}",
        "go through them from the top; the first ones are the likeliest, the last ones often right",
        tuple(table),
    )


def joined(learnt: Learnt, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M, K) the probe's probabilities and the neighbours' vote, multiplied as powers and made to sum to 1."""
    vote = votes(labels, learnt.neighbours, learnt.cosines, learnt.probabilities.shape[1])
    logs = PROBE * np.log(np.maximum(learnt.probabilities, 1e-6)) + (1 - PROBE) * np.log(vote)
    powers = np.exp(logs - logs.max(1, keepdims=True))
    joint: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return joint


def suspicion(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) from 0 to 1, higher for a label that is more probably wrong: 1 less its own probability."""
    own: NDArray[np.float64] = 1 - probabilities[np.arange(len(labels)), labels]
    return own


def called_wrong(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether cleanlab calls a label wrong.

    Classes of which there is no picture are left out, since nothing can be confident of them.

    Raises:
        MissingExtra: cleanlab is not installed.
    """
    require_cleanlab()
    from cleanlab.filter import find_label_issues

    present, numbers = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels), bool)
    kept = np.maximum(probabilities[:, present], 1e-12)
    found: NDArray[np.bool_] = find_label_issues(numbers, kept / kept.sum(1, keepdims=True), n_jobs=1)
    return found


def require_cleanlab() -> None:
    """See that it is installed, before minutes are spent on what it is to judge.

    Raises:
        MissingExtra: it is not.
    """
    if importlib.util.find_spec("cleanlab") is None:
        raise MissingExtra("cleanlab", "check")
