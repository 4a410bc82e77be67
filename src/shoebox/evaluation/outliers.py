"""Pictures unlike all others, and pairs that a network takes for the same picture.

In: features of the labelled pictures. Out: those far from all others (pictures of no class, or collected by mistake),
after Kuan and Mueller 2022, "Back to the basics: revisiting out-of-distribution detection baselines": the mean distance
to the nearest neighbours, against what is usual in these data; and pairs of nearly equal features.
"""

import numpy as np

from shoebox.data.check import CHECKS, Evidence, Finding
from shoebox.data.twins import united

NEIGHBOURS = 10
SIGMAS = 4.5  # robust standard deviations above the usual distance
ALIKE = 0.97  # cosine of two pictures' features


@CHECKS.register
def outliers(evidence: Evidence) -> Finding | None:
    """Pictures that are like no other."""
    learnt = evidence.learnt
    if learnt is None or len(learnt.rows) < 10 * NEIGHBOURS:
        return None
    far = 1 - learnt.cosines[:, :NEIGHBOURS].mean(1)
    middle = float(np.median(far))
    deviation = 1.4826 * float(np.median(np.abs(far - middle)))
    chosen = np.flatnonzero(far > middle + SIGMAS * max(deviation, 1e-6))
    chosen = chosen[np.argsort(-far[chosen], kind="stable")]
    rows = [
        evidence.row(int(learnt.rows[i]), f"{(far[i] - middle) / max(deviation, 1e-6):.1f} deviations from the usual")
        for i in chosen.tolist()
    ]
    return Finding(
        "note",
        len(rows),
        f"pictures unlike all others, by {learnt.how}",
        "look at them: a picture of no class is to be set aside, a rare but right one deserves company",
        tuple(rows),
    )


@CHECKS.register
def look_alikes(evidence: Evidence) -> Finding | None:
    """Pairs that a network takes for one picture, and that comparing pixels did not find."""
    learnt = evidence.learnt
    if learnt is None or len(learnt.rows) < 3:
        return None
    first = np.flatnonzero(learnt.cosines[:, 0] >= ALIKE)
    pairs = np.stack([learnt.rows[first], learnt.rows[learnt.neighbours[first, 0]]], 1)
    pairs = np.unique(np.sort(pairs, 1), axis=0)
    known = evidence.twins.clusters()
    pairs = pairs[known[pairs[:, 0]] != known[pairs[:, 1]]]
    roots = united(len(evidence.index), pairs)
    rows = [
        evidence.row(row, "the same to a network", group=int(roots[row]))
        for row in sorted(np.unique(pairs).tolist(), key=lambda r: (roots[r], r))
    ]
    return Finding(
        "note",
        len(rows),
        f"pictures that are alike to {learnt.how}, though not pixel by pixel",
        "look at them: the same scene again should not be in two parts",
        tuple(rows),
    )
