"""Times as XmYs, and tables that other programs read."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from shoebox.evaluation.tables import duration, epoch_csv, epoch_table


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0m00s"), (0.4, "0m00s"), (7, "0m07s"), (59.6, "1m00s"), (65, "1m05s"), (119.4, "1m59s"), (7512.4, "125m12s")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_no_duration(seconds: float) -> None:
    assert duration(seconds) == ""


def history() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [1, 2],
            "train_loss": [1.23456789, np.nan],
            "val_loss": [np.nan, np.nan],
            "seconds": [65.2, 59.9],
            "pictures_per_second": [812.7, 900.0],
            "lr": [1e-3, 2.5e-05],
            "note|": ["a|b", None],
        }
    )


def test_markdown() -> None:
    assert epoch_table(history()).splitlines() == [
        r"| epoch | train loss | time | pictures per second | lr | note\| |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        r"| 1 | 1.2346 | 1m05s | 813 | 0.001 | a\|b |",
        "| 2 |  | 1m00s | 900 | 2.5e-05 |  |",
    ]


def test_markdown_of_a_file_that_was_read_back() -> None:
    read = pd.read_csv(io.StringIO(history().to_csv(index=False)))
    assert epoch_table(read) == epoch_table(history())


def test_csv_keeps_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(epoch_csv(history()))))
    assert rows[0]["time"] == "1m05s"
    assert rows[0]["train_loss"] == "1.23456789"
    assert "seconds" not in rows[0]
    assert "\r" not in epoch_csv(history())


def test_no_epochs() -> None:
    assert epoch_table(history().iloc[:0]).splitlines() == ["| epoch |", "| ---: |"]
    assert epoch_csv(history().iloc[:0]).startswith("epoch,")
