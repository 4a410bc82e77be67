"""Cases of bad names that only what moves or shows files can meet; the others are in tests/data/test_bad_inputs.py."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image

from shoebox.base import journal, moves
from shoebox.base.journal import Step, steps_of
from shoebox.deploy.naming import FreeNames
from shoebox.deploy.sort import sort


def picture(path, tint):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), tint).save(path)
    return path


def contents(folder):
    return sorted(p.read_bytes() for p in folder.rglob("*.png"))


def test_case_27_a_class_that_looks_like_html_is_escaped_in_the_card(saved):
    text = (saved / "README.md").read_text(encoding="utf-8")
    assert r"\<b\>" in text
    assert not re.search(r"(?<!\\)<b", text)


def test_case_28_a_target_name_over_255_bytes_is_shortened_and_the_journal_keeps_the_original(tmp_path):
    long = "é" * 140 + ".jpg"
    given = FreeNames().take(long)
    assert len(os.fsencode(given)) <= 255
    assert re.search(r"-[0-9a-f]{10}\.jpg$", given)
    assert FreeNames().take("é" * 141 + ".jpg") != given
    source = picture(tmp_path / ("a" * 251 + ".png"), "red")
    taken = FreeNames([source.name]).take(source.name)
    assert len(os.fsencode(taken)) <= 255
    written = journal.plan(tmp_path / "journals" / "j", [Step("move", source, tmp_path / "to" / taken)])
    journal.apply(written)
    assert steps_of(written)[0].source == source
    journal.undo(written)
    assert source.is_file()


@pytest.mark.parametrize("how", ["copy", "move"])
def test_case_36_equal_names_are_numbered_and_never_overwritten(trained, tmp_path, how):
    pile = tmp_path / "pile"
    for number in range(4):
        picture(pile / f"folder {number}" / "photo.png", (40 * number, 90, 90))
    before = contents(pile)
    result = sort(trained[0], pile, tmp_path / "to", how=how, threshold=0.0, unknown=0, agree=lambda table: True)
    assert result["done"] == 4
    assert contents(tmp_path / "to") == before
    journal.undo_last(tmp_path / "to")
    assert contents(pile) == before
    assert contents(tmp_path / "to") == []


def test_case_39_a_hard_link_is_moved_once_and_reported(trained, tmp_path):
    first = picture(tmp_path / "pile" / "a.png", "blue")
    (tmp_path / "pile" / "b.png").hardlink_to(first)
    options = {"how": "move", "threshold": 0.0, "unknown": 0, "agree": lambda table: True}
    result = sort(trained[0], tmp_path / "pile", tmp_path / "to", **options)
    assert result["done"] == 1
    assert len(list((tmp_path / "to").rglob("*.png"))) == 1
    assert "hard link" in Path(result["predictions"]).read_text()


def test_case_40_a_file_system_that_cannot_rename_exclusively_or_link_is_copied_to_instead(tmp_path, monkeypatch):
    def unsupported(*args, **kwargs):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    monkeypatch.setattr(moves, "_rename_exclusively", unsupported)
    source = picture(tmp_path / "a.png", "green")
    before = source.read_bytes()
    written = journal.plan(tmp_path / "journals" / "j", [Step("move", source, tmp_path / "to" / "a.png")])
    assert journal.apply(written).done == 1
    assert (tmp_path / "to" / "a.png").read_bytes() == before
    assert not source.exists()
    journal.undo(written)
    assert source.read_bytes() == before
