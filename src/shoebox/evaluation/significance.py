"""Whether a difference is more than chance: exact tests, and what many of them at once cost.

In: counts. Out: p-values: how often chance alone would show as much.
"""

from collections.abc import Sequence

SIGNIFICANT = 0.05


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p-value of McNemar's test (1947, doi.org/10.1007/BF02295996).

    Args:
        first_only: pictures that only the first classifier has right.
        second_only: those that only the second has right.
    """
    return min(1.0, 2 * binomial_tail(min(first_only, second_only), first_only + second_only))


def binomial_tail(hits: int, trials: int) -> float:
    """P(at most `hits` heads in `trials` tosses of a fair coin), from whole numbers, so exact however small."""
    ways = total = 1
    for k in range(hits):
        ways = ways * (trials - k) // (k + 1)
        total += ways
    return total / (1 << trials)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values made larger for being one of many, in the same order (Holm 1979, jstor.org/stable/4615733).

    Below 0.05 then stays what chance would show in less than one of twenty whole families of tests.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = highest
    return adjusted
