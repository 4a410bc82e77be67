"""A split without leaks: copies and frames stay on one side, and what a naive split would have claimed is told."""

import numpy as np
import pytest
from PIL import Image

from shoebox.base.recipe import Recipe
from shoebox.data import kin as kin_module
from shoebox.data.index import ImageIndex
from shoebox.data.kin import find_kin
from shoebox.data.pack import pack
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.training.leakproof import divide, naive_claim
from shoebox.training.train import train

RECIPE = Recipe.load("fast")
PLAIN = Preprocess(store=32, size=32)


def scene(seed, size=(40, 36)):
    """Noise whose power falls with frequency squared, as that of photographs."""
    draw = np.random.default_rng(seed)
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width) * width)
    field = np.fft.ifft2(np.fft.fft2(draw.normal(size=(3, height, width))) / np.maximum(frequency, 1)).real
    field = 128 + 45 * (field - field.mean()) / field.std()
    return Image.fromarray(field.transpose(1, 2, 0).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """60 scenes, each there three times: as it is, saved badly, and mirrored; a film of 12 frames; a broken file."""
    root = tmp_path_factory.mktemp("copied")
    for label in ("a", "b"):
        (root / label).mkdir()
    for seed in range(60):
        folder, image = root / "ab"[seed % 2], scene(seed)
        image.save(folder / f"{seed} one.png")
        image.save(folder / f"{seed} two.jpg", quality=40)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{seed} three.png")
    wide = scene(500, (64, 36))
    for frame in range(12):
        wide.crop((frame * 2, 0, frame * 2 + 40, 36)).save(root / "a" / f"film_{frame:03}.png")
    (root / "a" / "broken.png").write_bytes(b"")
    return root


def family(path):
    name = path.rpartition("/")[2]
    return "film" if name.startswith("film") else name.split()[0]


def test_copies_and_frames_stay_on_one_side(copied, capsys):
    index = open_source(copied)
    packed = pack(index, PLAIN)
    divided = divide(index, packed, RECIPE)
    parts = {}
    for path, part in zip(divided.paths, divided.part.tolist(), strict=True):
        parts.setdefault(family(path), set()).add(part)
    del parts["broken.png"]
    assert all(len(where) == 1 for where in parts.values())
    assert (divided.part == "test").sum() >= 12
    assert (divided.part == "val").sum() >= 12
    for label in (0, 1):
        share = (divided.part[divided.labels == label] == "test").mean()
        assert 0.05 <= share <= 0.12
    assert packed.index.part.tolist() == divided.part[[p != "a/broken.png" for p in divided.paths]].tolist()


def test_parts_that_are_given_stay_and_leaks_are_told(tmp_path):
    root = tmp_path / "data"
    for seed in range(12):
        for part in ("train", "test"):
            folder = root / part / "ab"[seed % 2]
            folder.mkdir(parents=True, exist_ok=True)
            scene(seed if seed < 3 else seed + (100 if part == "test" else 0)).save(folder / f"{seed}.png")
    Image.open(root / "train/a/4.png").save(root / "train/b/4 again.png")
    index = open_source(root)
    said = []

    class Said:
        def say(self, line):
            said.append(line)

        def track(self, things, *_):
            return things

    packed = pack(index, PLAIN)
    divided = divide(index, packed, RECIPE, progress=Said())
    assert (divided.part[index.part == "test"] == "test").all()
    assert any("3 pictures of val or test (25.0%) have their like" in line for line in said)
    assert any("2 pictures are there under two labels" in line for line in said)


def test_kin_are_found_once(copied, monkeypatch):
    packed = pack(open_source(copied), PLAIN)
    first = find_kin(packed)
    assert len(first.twins) >= 110
    assert len(first.neighbours) >= 10
    monkeypatch.setattr(kin_module, "find_twins", None)
    again = find_kin(pack(open_source(copied), PLAIN))
    assert np.array_equal(first.groups(), again.groups())
    (packed.folder / "kin.npz").write_bytes(b"damaged")
    monkeypatch.undo()
    assert np.array_equal(find_kin(packed).groups(), first.groups())
    monkeypatch.setattr(kin_module, "MOST", 10)
    assert len(np.unique(find_kin(packed).groups())) == len(packed)


class Memory:
    """A classifier that has learnt every training picture by heart, and guesses the rest."""

    def __init__(self, packed):
        self.packed = packed

    def score(self, packed, rows, **_):
        right = np.eye(2)[packed.index.labels[rows]]
        return type("Scored", (), {"probabilities": right})()


def test_what_a_naive_split_would_have_claimed(copied):
    index = open_source(copied)
    packed = pack(index, PLAIN)
    divide(index, packed, RECIPE)
    claim = naive_claim(Memory(packed), index, packed, RECIPE, honest=0.5)
    assert claim.leaked > 0.7
    assert claim.accuracy == pytest.approx(0.5 + claim.leaked * 0.5)
    assert "instead of 0.500" in str(claim)
    assert naive_claim(Memory(packed), index, packed, RECIPE, honest=0.99) is None, "within the noise"


def test_nothing_is_claimed_where_there_are_no_copies_or_the_parts_were_given(make_folder, tmp_path):
    for seed in range(40):
        folder = tmp_path / "plain" / "ab"[seed % 2]
        folder.mkdir(parents=True, exist_ok=True)
        scene(seed).save(folder / f"{seed * 17 % 101}.png")
    index = open_source(tmp_path / "plain")
    packed = pack(index, PLAIN)
    divide(index, packed, RECIPE)
    assert naive_claim(Memory(packed), index, packed, RECIPE, honest=0.5) is None
    given = index.with_part(np.where(np.arange(len(index)) % 4, "train", "test"))
    assert isinstance(given, ImageIndex)
    assert naive_claim(Memory(packed), given, packed, RECIPE, honest=0.5) is None


def test_train_divides_by_groups_and_keeps_the_split_when_it_resumes(copied, tmp_path):
    settings = {"model": "simple(width=4)", "size": 16, "batch_size": 16, "tensorboard": False}
    run = train(copied, run=tmp_path / "run", epochs=1, **settings)
    written = (tmp_path / "run" / "split.csv").read_text()
    parts = {}
    for line in written.splitlines()[1:]:
        path, _, part = line.rsplit(",", 2)
        parts.setdefault(family(path), set()).add(part)
    assert all(len(where) == 1 for where in parts.values())
    assert "naive_test_accuracy" in run.result
    train(copied, run=tmp_path / "run", resume=True, epochs=2, **settings)
    assert (tmp_path / "run" / "split.csv").read_text() == written
