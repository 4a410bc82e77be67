"""Every figure of the registry is drawn from small and from awkward data; nothing warns, no text leaves its figure."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from shoebox.evaluation import style
from shoebox.evaluation.embedding import Map, choose
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.figures import FIGURES, write_figures
from shoebox.evaluation.metrics import SIX
from shoebox.evaluation.novelty import Apart
from shoebox.models import build_model
from shoebox.models.summary import LayerRow, Summary, summary

AWKWARD = (
    "Large-billed_Crow_of_the_northern_mountains_1",
    "Large-billed_Crow_of_the_northern_mountains_2",
    "a" * 30 + "1" + "a" * 30,
    "a" * 30 + "2" + "a" * 30,
    "W" * 60,
    "猫と犬",
    "🐈\u200d⬛️",
    "$5_and_$10",
    r"\frac{$}",
    "line\nend",
    "odd\udc80byte",
    "<script>",
    "عربى",
    "",
    " ",
)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with fewer dots: the layout is the same, and the tests take a third of the time."""
    monkeypatch.setattr(style, "DPI", 60)


def history(epochs: int, *, val: bool = True) -> pd.DataFrame:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {"epoch": np.arange(1, epochs + 1)}
    for part in ("train", "val") if val else ("train",):
        columns |= {f"{part}_{metric}": random.random(epochs) for metric in ("loss", *SIX)}
    return pd.DataFrame(columns | {"seconds": 60.0, "pictures_per_second": 800.0, "lr": 1e-3})


def scored(classes: tuple[str, ...], rows: int = 40, skill: float = 1) -> Evaluation:
    random = np.random.default_rng(0)
    labels = random.integers(0, len(classes), rows)
    logits = random.normal(size=(rows, len(classes))).astype(np.float32)
    logits[np.arange(rows), labels] += skill
    return Evaluation(tuple(map(str, range(rows))), labels, logits, classes, part="test")


def unlabelled(classes: tuple[str, ...]) -> Evaluation:
    return Evaluation(("a",), np.array([-1]), np.zeros((1, len(classes)), np.float32), classes)


def counts(classes: tuple[str, ...] | list[str]) -> pd.DataFrame:
    return pd.DataFrame({"train": 40, "val": 5, "test": 0, "": 2}, index=pd.Index(classes, dtype=object))


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


NAMES = [f"class_{i}" for i in range(120)]
NOT_A_NUMBER = history(6).assign(val_loss=np.nan, train_loss=[1, np.nan, 2, np.inf, np.nan, 3], val_macro_f1=np.nan)
HISTORIES = {
    "usual": (history(12),),
    "one epoch": (history(1),),
    "no epoch": (history(0),),
    "no validation": (history(5, val=False),),
    "nan": (NOT_A_NUMBER,),
    "all nan": (history(3) * np.nan,),
    "diverged": (history(5).assign(train_loss=[1, 1e9, 0.5, 0.4, 0.3]),),
    "read as text": (history(3).astype(str),),
}
FEW_HISTORIES = {name: HISTORIES[name] for name in ("usual", "one epoch", "no epoch", "all nan")}


def climbed(names: tuple[str, ...], *histories: pd.DataFrame, part: str = "test") -> tuple[Any, ...]:
    accuracies = np.linspace(0.7, 0.93, len(names))
    table = pd.DataFrame({"step": pd.Series(names, dtype=object), "part": part, "accuracy": accuracies})
    return dict(zip(names, histories, strict=True)), table


def mapped(evaluation: Evaluation, most: int = 10_000) -> tuple[Any, ...]:
    rows = choose(evaluation, most)
    places = np.random.default_rng(0).random((len(rows), 2)).astype(np.float32)
    return evaluation, Map("tsne", rows, places, len(evaluation))


CURVES = {
    "usual": (scored(("ants", "bees", "cats"), 80),),
    "one class": (scored(("ants",)),),
    "no labels": (unlabelled(("ants", "bees")),),
    "awkward": (scored(AWKWARD, 300),),
    "very many": (scored(tuple(NAMES), 300),),
}
EXAMPLES: dict[str, dict[str, tuple[Any, ...]]] = {
    "curves": HISTORIES,
    "six_metrics": FEW_HISTORIES,
    "learning_rate": FEW_HISTORIES | {"no column": (history(3).drop(columns="lr"),)},
    "ladder": {
        "usual": climbed(("plain", "+ batch norm", "+ dropout"), history(20), history(20), history(12)),
        "one without validation": climbed(("plain", "+ more"), history(5, val=False), history(9)),
        "one step": climbed(("plain",), history(1), part="val"),
        "nothing": ({}, pd.DataFrame(columns=["step", "part", "accuracy"])),
        "diverged": climbed(("plain", "+ batch norm"), NOT_A_NUMBER * np.nan, history(3)),
        "awkward": climbed(AWKWARD, *[history(3)] * len(AWKWARD)),
    },
    "strangeness": {
        "usual": (Apart(np.linspace(0, 3, 50), np.linspace(2, 5, 30), 2.5, 0.9),),
        "all equal": (Apart(np.zeros(3), np.zeros(2), 0.0, 0.5),),
        "far": (Apart(np.zeros(1), np.ones(1), 9.0, 1.0),),
    },
    "confusion_matrix": {
        "two": (scored(("ants", "bees")),),
        "one": (scored(("ants",)),),
        "ten": (scored(tuple(NAMES[:10]), 5000),),
        "two long": (scored(AWKWARD[:2]),),
        "awkward": (scored(AWKWARD),),
        "forty": (scored(tuple(NAMES[:40]), 5),),
        "very many": (scored(tuple(NAMES), 500),),
        "no labels": (unlabelled(("ants", "bees")),),
    },
    "class_distribution": {
        "usual": (counts(["ants", "bees"]),),
        "awkward": (counts(AWKWARD),),
        "many": (counts(NAMES[:60]),),
        "very many": (counts(NAMES),),
        "one class": (counts(["ants"]),),
        "nothing": (counts(["ants"]) * 0,),
        "another part": (counts(["ants", "bees"]).rename(columns={"val": "holdout"}),),
    },
    "sample_grid": {
        "usual": (pictures(16, 32, 32), NAMES[:16]),
        "more than fit": (pictures(20, 8, 8), NAMES[:20]),
        "one": (pictures(1, 160, 200), NAMES[:1]),
        "none": (pictures(0, 8, 8), []),
        "awkward": (pictures(len(AWKWARD), 8, 8), AWKWARD),
    },
    "augmentation_grid": {
        "usual": (pictures(3, 32, 32), pictures(3, 5, 24, 24)),
        "one": (pictures(1, 32, 32), pictures(1, 1, 32, 32)),
        "none": (pictures(0, 32, 32), pictures(0, 5, 32, 32)),
        "no versions": (pictures(2, 32, 32), pictures(2, 0, 32, 32)),
    },
    "wrong_grid": {
        "usual": (scored(("ants", "bees", "cats"), 80), pictures(16, 32, 32)),
        "none wrong": (scored(("ants", "bees"), skill=99), pictures(0, 32, 32)),
        "no pictures": (scored(("ants", "bees")), pictures(0, 32, 32)),
        "one picture": (scored(("ants", "bees")), pictures(1, 32, 32)),
        "awkward": (scored(AWKWARD), pictures(16, 32, 32)),
        "no labels": (unlabelled(("ants", "bees")), pictures(0, 32, 32)),
    },
    "unsure_grid": {
        "usual": (scored(("ants", "bees", "cats"), 80), pictures(16, 32, 32)),
        "one class": (scored(("ants",), 3), pictures(2, 8, 8)),
        "none right": (scored(("ants", "bees"), skill=-99), pictures(0, 8, 8)),
        "awkward": (scored(AWKWARD), pictures(16, 32, 32)),
    },
    "pairs_grid": {
        "usual": (scored(("ants", "bees", "cats"), 80), [pictures(5, 8, 8)] * 6),
        "none": (scored(("ants", "bees"), skill=99), []),
        "no pictures": (scored(("ants", "bees"), 80), [pictures(0, 8, 8)] * 2),
        "awkward": (scored(AWKWARD), [pictures(1, 8, 8)] * 6),
    },
    "heat_grid": {
        "usual": (pictures(3, 32, 32), np.linspace(0, 1, 3 * 32 * 32).reshape(3, 32, 32), AWKWARD[:3]),
        "more than fit": (pictures(20, 8, 8), np.zeros((20, 8, 8)), NAMES[:20]),
        "none": (pictures(0, 8, 8), np.zeros((0, 8, 8)), []),
    },
    "roc_curves": CURVES,
    "precision_recall": CURVES,
    "reliability_diagram": CURVES | {"all sure": (scored(("ants", "bees"), skill=99),)},
    "coverage_risk": CURVES | {"none wrong": (scored(("ants", "bees"), skill=99),)},
    "embedding_map": {
        "usual": mapped(scored(("ants", "bees", "cats"), 200)),
        "one": mapped(scored(("ants", "bees"), 1)),
        "none": mapped(scored(("ants", "bees"), 0)),
        "some of them": mapped(scored(("ants", "bees"), 200), 50),
        "no labels": mapped(unlabelled(("ants", "bees"))),
        "awkward": mapped(scored(AWKWARD, 100)),
        "many": mapped(scored(tuple(NAMES[:40]), 400)),
        "very many": mapped(scored(tuple(NAMES), 400)),
    },
    "network_table": {
        "small": (summary(build_model("simple", classes=3, size=16), 16),),
        "deep": (summary(build_model("resnet18", classes=3, size=32), 32),),
        "no layers": (Summary((), 0, 0, 0),),
        "awkward": (Summary((LayerRow("W" * 90, "$_" * 40, (1, 2), 3, 4),), 3, 3, 4),),
    },
}


def texts(made: Figure) -> list[Text]:
    found = made.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible() and artist.get_text().strip())
    # Ticks are held apart from each other instead: matplotlib keeps those outside the range, undrawn.
    ticks = {id(tick) for axes in made.axes for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    return [text for text in found if id(text) not in ticks]


def test_every_figure_has_examples() -> None:
    assert set(EXAMPLES) == set(FIGURES)


@pytest.mark.parametrize(("name", "example"), [(name, example) for name in EXAMPLES for example in EXAMPLES[name]])
def test_contract(name: str, example: str, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    made = FIGURES.build(name, *EXAMPLES[name][example])
    assert dict(mpl.rcParams) == before
    [path] = write_figures(tmp_path, {name: made})
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 1  # something is drawn
    renderer = FigureCanvasAgg(made).get_renderer()
    for axes in (axes for axes in made.axes if axes.axison):
        for axis in (axes.xaxis, axes.yaxis):
            hold_ticks_apart(axis.get_ticklabels(), renderer, 0 if axis is axes.xaxis else 1)
    for text in texts(made):
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1 and box.y0 >= -1, text.get_text()
        assert box.x1 <= made.bbox.x1 + 1 and box.y1 <= made.bbox.y1 + 1, text.get_text()


def hold_ticks_apart(labels: list[Text], renderer: RendererAgg, side: int) -> None:
    upright = [
        label.get_window_extent(renderer) for label in labels if label.get_text().strip() and label.get_rotation() == 0
    ]
    for one, next_one in pairwise(sorted(upright, key=lambda box: box.min[side])):
        assert one.max[side] <= next_one.min[side] + 1


@pytest.mark.parametrize("name", FIGURES)
def test_documented(name: str) -> None:
    assert FIGURES[name].__doc__


def test_best_epoch_is_that_of_the_best_validation_f1_unless_told() -> None:
    data = history(4).assign(val_macro_f1=[0.1, 0.9, np.nan, 0.2])
    for options, epoch in (("", 2), ("(best=3)", 3)):
        made = FIGURES.build(f"curves{options}", data)
        assert f"best epoch ({epoch})" in [text.get_text() for text in texts(made)]


def test_no_best_epoch_without_validation() -> None:
    made = FIGURES.build("six_metrics", history(4, val=False))
    assert [text.get_text() for text in texts(made) if "best" in text.get_text()] == []


@pytest.mark.parametrize(("classes", "written"), [(25, True), (26, False)])
def test_counts_are_written_while_there_is_room(classes: int, written: bool) -> None:
    measured = scored(tuple(f"c{i}" for i in range(classes)), 3000)
    made = FIGURES.build("confusion_matrix", measured)
    shown = sorted(int(text.get_text()) for text in made.axes[0].texts)
    assert shown == (sorted(measured.confusion()[measured.confusion() > 0].tolist()) if written else [])


def test_wrong_grid_names_both_classes_and_the_confidence() -> None:
    logits = np.array([[0, 2], [3, 0]], dtype=np.float32)
    made = FIGURES.build(
        "wrong_grid", Evaluation(("a", "b"), np.array([0, 0]), logits, ("ants", "bees")), pictures(1, 8, 8)
    )
    shown = [text.get_text() for text in texts(made)]
    assert {"true: ants", "predicted: bees", "88%"} <= set(shown)


def test_labels_are_short_different_and_drawable() -> None:
    labels = style.class_labels(AWKWARD)
    assert len(set(labels)) == len(labels)
    assert all(label.strip() for label in labels)
    assert max(style.inches(label, 72) for label in labels) <= style.inches("n" * 24, 72)
    assert labels[7] == r"\$5_and_\$10"


def test_several_in_one_folder_and_only_there(tmp_path: Path) -> None:
    made = {name: style.notice("nothing", name) for name in ("a", "b")}
    assert write_figures(tmp_path / "new" / "figures", made) == [
        tmp_path / "new" / "figures" / f"{n}.png" for n in "ab"
    ]
    assert sorted(p.name for p in (tmp_path / "new" / "figures").iterdir()) == ["a.png", "b.png"]
    for name in ("../a", "sub/a", ""):
        with pytest.raises(ValueError, match="cannot name"):
            write_figures(tmp_path, {name: made["a"]})


@pytest.mark.parametrize("own", ["figure.autolayout", "figure.constrained_layout.use"])
def test_the_reader_s_own_layout_changes_nothing(own: str) -> None:
    plain = FIGURES.build("confusion_matrix", scored(("ants", "bees")))
    with mpl.rc_context({own: True}):
        made = FIGURES.build("confusion_matrix", scored(("ants", "bees")))
    assert made.get_layout_engine() is None
    assert [axes.get_position().bounds for axes in made.axes] == [axes.get_position().bounds for axes in plain.axes]


@pytest.mark.parametrize("example", ["usual", "awkward"])
def test_the_words_of_a_pair_end_before_its_pictures(example: str) -> None:
    made = FIGURES.build("pairs_grid", *EXAMPLES["pairs_grid"][example])
    renderer = FigureCanvasAgg(made).get_renderer()
    left = min(picture.get_window_extent(renderer).x0 for picture in made.axes[0].images)
    assert max(text.get_window_extent(renderer).x1 for text in made.axes[0].texts) < left


def test_no_window_and_no_global_state() -> None:
    code = (
        "import sys, pandas as pd; from shoebox.evaluation.figures import FIGURES;"
        "FIGURES.build('learning_rate', pd.DataFrame({'epoch': [1, 2], 'lr': [1.0, 0.5]}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawn_in_threads_the_reader_s_settings_stay() -> None:
    before = dict(mpl.rcParams)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(FIGURES["learning_rate"], [history(3)] * 8))
    assert dict(mpl.rcParams) == before
