"""The stream: a pack's interface and its very bytes, without the pack."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import Quiet
from shoebox.data import packing
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, pack
from shoebox.data.preprocess import Preprocess

PREPROCESS = Preprocess(store=8, size=8)


class Heard(Quiet):
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def index(tmp_path: Path) -> ImageIndex:
    root = tmp_path / "data"
    root.mkdir()
    for i in range(9):
        Image.new("RGB", (10 + i, 12), (20 * i, 100, 0)).save(root / f"{i}.png")
    (root / "4.png").write_bytes(b"nothing")
    paths = tuple(f"{i}.png" for i in range(9))
    return ImageIndex(root, paths, np.array([0, 1, 0, 1, 0, 1, 0, 1, 1]), ("a", "b"), np.full(9, "train"))


def test_a_set_beyond_its_budget_streams_the_same_bytes(index: ImageIndex, tmp_path: Path) -> None:
    heard = Heard()
    streamed = pack(index, PREPROCESS, cache=tmp_path / "c", budget_bytes=9 * 192 - 1, progress=heard)
    assert isinstance(streamed, Stream)
    assert len(heard.lines) == 1
    assert "decoded anew in every epoch" in heard.lines[0]
    packed = pack(index, PREPROCESS, cache=tmp_path / "c", budget_bytes=9 * 192)
    assert isinstance(packed, Pack)
    assert streamed.skipped == packed.skipped
    assert streamed.index.paths == packed.index.paths
    assert len(streamed) == 8
    rows = np.array([3, 0, 7, 3])
    assert np.array_equal(streamed.gather(rows), packed.gather(rows))
    assert streamed.gather(rows[:0]).shape == (0, 8, 8, 3)
    streamed.close()


def test_what_is_unreadable_is_found_out_once(
    index: ImageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(index, PREPROCESS, cache=tmp_path, budget_bytes=0)
    monkeypatch.setattr(packing, "decode_all", None)
    again = pack(index, PREPROCESS, cache=tmp_path, budget_bytes=0)
    assert again.skipped == first.skipped
    assert [s.path for s in again.skipped] == ["4.png"]


def test_a_file_lost_later_is_stood_in_for_by_its_class(index: ImageIndex, tmp_path: Path) -> None:
    heard = Heard()
    streamed = pack(index, PREPROCESS, cache=tmp_path, budget_bytes=0, progress=heard)
    whole = streamed.gather(np.arange(8))
    streamed.index.file(0).unlink()
    streamed.index.file(7).write_bytes(b"")
    for _ in range(2):
        now = streamed.gather(np.arange(8))
        assert np.array_equal(now[1:7], whole[1:7])
        assert np.array_equal(now[0], whole[2])  # both are of class a
        assert np.array_equal(now[7], whole[1])  # around the end to the first of class b
    assert sorted(s.path for s in streamed.skipped) == ["0.png", "4.png", "8.png"]
    assert len(heard.lines) == 3
    assert "0.png" in "".join(heard.lines[1:])


def test_a_folder_that_goes_away_is_an_error(index: ImageIndex, tmp_path: Path) -> None:
    streamed = pack(index, PREPROCESS, cache=tmp_path / "c", budget_bytes=0)
    index.root.rename(tmp_path / "elsewhere")
    with pytest.raises(ShoeboxError, match=r"is .* still there"):
        streamed.gather(np.arange(3))
