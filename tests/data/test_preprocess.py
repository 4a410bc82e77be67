import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.base.errors import UsageError
from shoebox.data.preprocess import Preprocess


@given(
    store=st.integers(1, 4096),
    size=st.integers(1, 4096),
    fit=st.sampled_from(["squash", "crop", "pad"]),
    interpolation=st.sampled_from(["bicubic", "bilinear", "lanczos"]),
    std=st.tuples(*[st.floats(0.01, 10)] * 3),
)
def test_survives_json(**values: Any) -> None:
    preprocess = Preprocess(**values)
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"store": 0}, "store"),
        ({"size": 1.5}, "size"),
        ({"size": True}, "size"),
        ({"fit": "stretch"}, "squash"),
        ({"interpolation": "nearest"}, "bicubic"),
        ({"mean": (0.5, 0.5)}, "mean"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean"),
        ({"std": (0.5, 0.5, 0)}, "std"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Preprocess.from_dict({"store": 32, "size": 32, **change})


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(UsageError, match="size"):
        Preprocess.from_dict({"store": 32})
