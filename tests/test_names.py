"""The public names: changing this list is changing what users hold in their hands."""

import shoebox

NAMES = [
    "MODELS", "Classifier", "Evaluation", "ImageIndex", "Network", "Preprocess", "Recipe", "Run", "ShoeboxClassifier",
    "ShoeboxError", "UsageError", "fit", "open_source", "train",
]  # fmt: skip


def test_the_exported_names_are_these():
    assert sorted(shoebox.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(shoebox, name).__name__ if name != "MODELS" else getattr(shoebox, name)
