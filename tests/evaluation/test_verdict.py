import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shoebox.evaluation.intervals import intervals
from shoebox.evaluation.verdict import verdict

sys.path.insert(0, str(Path(__file__).parent))
from reporting import scored


@pytest.mark.parametrize(
    ("validated", "words"),
    [
        ([0.5, 0.6, 0.7, 0.8], "In the last epoch of 4 the"),
        ([0.5, np.nan, np.nan, 0.7, np.nan, np.nan, 0.8], "In the last 3 epochs of 7 the"),
    ],
)
def test_epochs_without_a_validation_are_counted_too(validated, words):
    evaluation = scored()
    history = pd.DataFrame({"train_accuracy": np.linspace(0.5, 0.8, len(validated)), "val_accuracy": validated})
    said = verdict(evaluation, intervals(evaluation), history).advice
    assert any(words in str(one) for one in said)
