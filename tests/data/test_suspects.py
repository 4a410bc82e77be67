"""The loop of a person who goes through the suspects: in order, kept at once, taken up again."""

import pytest

from shoebox.base.errors import UsageError
from shoebox.base.tables import write_rows
from shoebox.data.check import COLUMNS, Row
from shoebox.data.sources import open_source
from shoebox.data.suspects import Suspect, decide, forget, read_suspects


def table(path, *rows):
    write_rows(
        path,
        [{"check": "label_suspects", "severity": "warning", **row._asdict(), "group": ""} for row in rows],
        COLUMNS,
    )
    return path


def test_suspects_in_order_with_what_was_decided(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"cat": 3, "=dog": 3})
    found = table(
        tmp_path / "check.csv",
        Row("=dog/2.png", "=dog", "cat 90 %", suggested="cat", action="relabel"),
        Row("cat/0.png", "cat", "perhaps =dog", suggested="=dog"),
        Row("cat/9.png", "cat", "gone", suggested="=dog"),
        Row("cat/1.png", "cat", "blank", action="quarantine"),
    )
    patch = root / "labels.csv"

    def now():
        return read_suspects(open_source(root), found)

    assert now() == [
        Suspect("=dog/2.png", "=dog", "cat", "cat 90 %"),
        Suspect("cat/0.png", "cat", "=dog", "perhaps =dog"),
    ]
    decide(patch, "=dog/2.png", "cat")
    decide(patch, "cat/0.png", "cat")
    assert [s.decided for s in now()] == ["cat", "cat"]
    assert open_source(root).labels.tolist().count(1) == 4
    decide(patch, "cat/0.png", None)
    assert [s.decided for s in now()] == ["cat", ""]
    assert len(open_source(root)) == 5
    forget(patch, "cat/0.png")
    forget(patch, "=dog/2.png")
    assert [s.decided for s in now()] == [None, None]
    assert not patch.exists()


def test_somebody_elses_labels_are_not_written_over(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"cat": 2, "dog": 2})
    (root / "labels.csv").write_text("name;class\n")
    with pytest.raises(UsageError, match="not Shoebox's"):
        decide(root / "labels.csv", "cat/0.png", "dog")
    assert (root / "labels.csv").read_text() == "name;class\n"
