"""What tests of checks that need a network share: evidence made of arrays, with no picture behind it."""

from pathlib import Path

import numpy as np

from shoebox.data.check import Evidence, Learnt
from shoebox.data.index import ImageIndex
from shoebox.data.survey import RECORD
from shoebox.data.twins import Twins
from shoebox.evaluation.neighbours import directions, nearest


def evidence(features, labels, probabilities, *, classes=("a", "b", "c"), pairs=(), curve=None, skip=0):
    """Evidence of pictures with these features, the first `skip` rows of its index left out by the network."""
    count = len(labels) + skip
    index = ImageIndex(
        Path("data"),
        tuple(f"{i}.png" for i in range(count)),
        np.concatenate([np.full(skip, -1), labels]).astype(np.int64),
        classes,
        np.full(count, "train"),
    )
    pairs = np.array(pairs, np.int64).reshape(-1, 2)
    twins = Twins(count, pairs, np.ones(len(pairs), np.float32), np.zeros(len(pairs), bool), 0.9)
    features = directions(features.astype(np.float32), 64)
    learnt = Learnt(
        np.arange(skip, count), features, *nearest(features, 10), probabilities, "a probe of the test", curve
    )
    return Evidence(index, np.zeros(count, RECORD), np.arange(count), twins, learnt)
