import itertools
from types import SimpleNamespace

import pytest

from shoebox.base.recipe import Recipe
from shoebox.data.pack import pack
from shoebox.data.sources import open_source
from shoebox.data.split import split
from shoebox.models import build_model
from shoebox.pipeline import Pipeline
from shoebox.training import train
from shoebox.training.planner import plan


@pytest.mark.parametrize(("recipe", "looks", "batch"), [(Recipe(), 1, 80), (Recipe.load("fast"), 6, 41)])
def test_what_scoring_takes_is_set_aside_by_looks(tmp_path, make_folder, monkeypatch, recipe, looks, batch):
    """Where any batch takes a second: all that is scored, in all looks, and validation once more in one."""
    index = split(open_source(make_folder(tmp_path / "data", {"cat": 40, "dog": 40}, size=(32, 32))))
    made = plan(recipe.override({"minutes": 1}), index)
    packed = pack(index, made.preprocess)
    assert made.preprocess.looks == looks
    counts = {part: int((index.part == part).sum()) for part in ("val", "test")}
    pipeline = Pipeline(build_model("speednet(width=0.25)", classes=2, size=32), made.preprocess)
    ticks = itertools.count()
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    pipeline.network.places_at_once = 400_000  # 250 looks, at 80 pictures
    wanted = (counts["val"] + counts["test"] + counts["val"] / looks) / batch / train.LOOKED  # all in one tick
    assert counts["val"] > 0
    assert train.seconds_of_scoring(pipeline, packed) == pytest.approx(wanted)
    results = train.RESULTS + train.RESULTS_A_PICTURE * (counts["val"] + counts["test"])
    figures = tmp_path / "results"
    monkeypatch.setattr(train, "USUAL", 1 / train.DRAWINGS)  # two in one tick are then neither fast nor slow
    assert train.seconds_of_results(figures, packed) == pytest.approx(results / train.DRAWINGS)
    for slower in (1.2, 1 / 1.2):  # not far from usual: that is trusted in part
        monkeypatch.setattr(train, "USUAL", 1 / train.DRAWINGS / slower)
        wanted = results / train.DRAWINGS * slower**-train.DOUBTED
        assert train.seconds_of_results(figures, packed) == pytest.approx(wanted)
    monkeypatch.setattr(train, "USUAL", 1 / train.DRAWINGS / 10)  # ten times as slow: another machine
    assert train.seconds_of_results(figures, packed) > 0.85 * results / train.DRAWINGS
    assert (figures / "class_distribution.png").is_file()
