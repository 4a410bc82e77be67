"""How sure the figures are: bootstrap intervals of metrics, all from one set of resamples.

In: labels and probabilities. Out: for each metric its value with the ends of its interval; or the values on the
resamples themselves, from which paired differences are formed.

The bootstrap draws as many pictures as there are, with replacement (Efron 1979, doi.org/10.1214/aos/1176344552). Which
are drawn depends on the seed and their number alone, so two classifiers on the same pictures meet the same resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoebox.base.registry import parse_spec
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.metrics import HEADLINE, measure
from shoebox.evaluation.resampling import Sample, Scored, worker

Doubles = NDArray[np.float64]

RESAMPLES = 1000
CHUNK_CELLS = 500_000  # pictures drawn at a time: what is made of them stays in the processor's cache
AREA_WORK = 2e9  # picture × class × resample beyond which the ROC-AUC gets no interval: it would take minutes


class Interval(NamedTuple):
    """A figure and the range in which it lies with the confidence asked for."""

    value: float
    low: float
    high: float


def intervals(
    evaluation: Evaluation,
    names: Sequence[str] = HEADLINE,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of metrics over the labelled pictures.

    A share (accuracy, top_k) that is exactly 0 or 1 gets Wilson's interval (1927) instead: a bootstrap of no mistakes
    would claim that there never will be one. A calibration error gets the spread of the resamples around its own value:
    drawing anew widens the gap in every bin, so the resamples as such lie above it.

    Args:
        names: metrics of `METRICS`, with options where wanted.
        level: the confidence, 0…1.

    Returns:
        an `Interval` a name; all nan where there is nothing to measure, the ends alone where a metric cannot be
        resampled in reasonable time (ROC-AUC above `AREA_WORK`).
    """
    known = evaluation.labelled
    labels, probabilities = evaluation.labels[known], evaluation.probabilities[known]
    values = measure(labels, evaluation.logits[known], names)
    if not len(labels) or np.isnan(values["loss"]):
        return {name: Interval(np.nan, np.nan, np.nan) for name in names}
    drawn = resampled(labels, probabilities, names, resamples=resamples, seed=seed)
    found = {}
    for name in names:
        low, high = ends(drawn[name], level)
        metric = parse_spec(name)[0]
        if metric in ("accuracy", "top_k") and values[name] in (0, 1):
            low, high = wilson(round(values[name] * len(labels)), len(labels), level)
        if metric in ("ece", "adaptive_ece"):
            shift = values[name] - float(np.mean(drawn[name]))
            low, high = max(0.0, low + shift), high + shift
        found[name] = Interval(values[name], low, high)
    return found


def ends(drawn: Doubles, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of resampled values; nan where there are none."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (doi.org/10.2307/2276774); (0, 1) without trials."""
    from statistics import NormalDist

    if not trials:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * float(np.sqrt(share * (1 - share) / trials + spread / trials / 4))
    return max(0.0, middle - half), min(1.0, middle + half)


def resampled(
    labels: NDArray[np.int64],
    probabilities: Doubles,
    names: Sequence[str] = HEADLINE,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Doubles]:
    """Metrics on resamples of the pictures.

    Args:
        labels: (N,) integers in 0…K-1, N ≥ 1.
        probabilities: (N, K) float64.

    Returns:
        (resamples,) float64 a name; nan where a resample leaves the metric undefined.
    """
    rows, classes = probabilities.shape
    scored = Scored(labels, probabilities.argmax(axis=1), probabilities)
    work = {name: worker(name, scored) for name in names}
    if rows * classes * resamples > AREA_WORK:
        work |= {name: _unknown for name in names if parse_spec(name)[0] == "roc_auc"}
    random = np.random.default_rng(seed)
    parts: dict[str, list[Doubles]] = {name: [] for name in names}
    step = max(1, CHUNK_CELLS // rows)
    for start in range(0, resamples, step):
        sample = Sample(scored, random.integers(0, rows, (min(step, resamples - start), rows)))
        for name in names:
            parts[name].append(work[name](sample))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _unknown(sample: Sample) -> Doubles:
    return np.full(len(sample.weights), np.nan)
