import pytest

from shoebox.card import card_text

BARE = {
    "architecture": "simple",
    "label_names": ["cat", "dog"],
    "preprocess": {"size": 32, "fit": "squash"},
    "card": {},
}
FULL = {
    **BARE,
    "card": {
        "name": "pets",
        "epochs": 5,
        "best_epoch": 4,
        "runtime": "2 CPU threads in fp32",
        "recipe": {"about": "two\nlines", "model": "simple", "lr": 0.1, "weights": None, "augment": []},
        "figures": {"test": {"accuracy": [0.9, 0.85, 0.94], "roc_auc": [0.95, float("nan"), float("nan")]}},
        "calibration": {
            "temperature": 1.5,
            "pictures": 100,
            "test": {"before": {"ece": 0.1, "adaptive_ece": 0.11}, "after": {"ece": 0.02, "adaptive_ece": 0.03}},
        },
        "split": {
            "source": "pets",
            "skipped": 3,
            "parts": {
                "train": {"pictures": 1040, "classes": {"cat": 1000, "dog": 40}},
                "test": {"pictures": 200, "classes": {"cat": 100, "dog": 100}},
            },
        },
        "errors": {
            "part": "test",
            "weakest": [{"class": "dog", "recall": 0.8, "precision": 0.9, "f1": 0.85, "support": 100}],
            "confusions": [{"true": "dog", "predicted": "cat", "pictures": 20}],
            "slices": 12,
            "worse": [
                {
                    "kind": "brightness",
                    "name": "darkest fifth (3 to 40 of 255)",
                    "pictures": 40,
                    "accuracy": 0.6,
                    "low": 0.44,
                    "high": 0.73,
                    "rest": 0.97,
                    "p": 1e-9,
                }
            ],
        },
        "environment": {"python": "3.11", "torch": "2.7"},
        "receipt": {"data": "abc", "shoebox": "0.1.0", "code": "def", "seed": 0},
    },
}


def test_everything_that_is_known_is_told():
    text = card_text(FULL)
    for piece in (
        "# pets\n",
        "| accuracy | 0.9000 | 0.8500 to 0.9400 |",
        "| ROC-AUC | 0.9500 |  |",
        "| dog | 0.8000 | 0.9000 | 100 |",
        "dog taken for cat (20)",
        "| brightness | darkest fifth (3 to 40 of 255) | 40 | 0.6000 | 0.9700 |",
        "temperature of 1.500, fitted on 100 validation pictures",
        "| test | 0.1000 | 0.0200 | 0.1100 | 0.0300 |",
        "fewer than 50 pictures each: dog.",
        "| cat | 1000 | 100 |",
        "3 files could not be read",
        "5 epochs, of which epoch 4 was kept; on 2 CPU threads in fp32.",
        "    about: two",
        "    lr: 0.1\n",
        "- torch: `2.7`\n",
        "- code: `def`\n",
        "--recipe THIS_FOLDER/recipe.yaml",
    ):
        assert piece in text, piece
    assert "weights" not in text


def test_a_classifier_that_knows_nothing_of_itself_has_a_card_too():
    text = card_text(BARE)
    assert "Tells 2 classes apart: cat, dog." in text
    assert "None" not in text and "nan" not in text
    assert "## Data" not in text and "## Receipt" not in text


def test_without_validation_it_warns_of_its_confidence_and_without_test_of_its_figures():
    calibration = {"temperature": 1.0, "pictures": 0}
    split = {"source": "x", "skipped": 0, "parts": {"train": {"pictures": 100, "classes": {"cat": 50, "dog": 50}}}}
    text = card_text({**BARE, "card": {"calibration": calibration, "split": split}})
    assert "Do not take confidences as probabilities" in text
    assert "and flatter" in text
    assert "fewer than" not in text


@pytest.mark.parametrize("name", ["a|b", "*x*", "<script>", "line\nend", "`code`", "\ud800"])
def test_no_name_breaks_the_card(name):
    card = {**FULL["card"], "name": name}
    card["errors"] = {**card["errors"], "weakest": [{**card["errors"]["weakest"][0], "class": name}]}
    text = card_text({**FULL, "label_names": [name, "dog"], "card": card})
    text.encode()
    row = next(line for line in text.splitlines() if line.endswith("| 0.8000 | 0.9000 | 100 |"))
    assert row.replace("\\|", "").count("|") == 5
    assert "<script>" not in text.replace("\\<script\\>", "")
