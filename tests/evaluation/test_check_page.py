"""The page of a check: one file, every finding shown, every name text, small whatever it is about."""

import json
import re

import numpy as np
import pytest

from shoebox.data import checks
from shoebox.data.check import CHECKS, Finding, Report, Row, gather, run_checks
from shoebox.data.sources import open_source
from shoebox.data.survey import survey
from shoebox.evaluation import check_page
from shoebox.evaluation.check_page import page, write_page

NASTY = '</script><img src=x onerror="alert(1)">'


@pytest.fixture
def seen(make_folder, make_picture, tmp_path):
    root = make_folder(tmp_path / "data", {"cat": 22, "<i>dog": 22})
    make_picture(root / "cat" / "again 1.png", seed=5)
    make_picture(root / "cat" / "again 2.png", seed=5)
    make_picture(root / "cat" / f"{NASTY.replace('/', '_')}.png", seed=6)
    (root / "cat" / "broken.png").write_bytes(b"")
    index = open_source(root)
    evidence = gather(index, survey(index))
    names = [name for name, check in CHECKS.items() if check.__module__.startswith(checks.__name__)]
    return run_checks(evidence, names), evidence


def test_one_file_with_every_finding(seen, tmp_path):
    report, evidence = seen
    write_page(tmp_path / "check.html", report, evidence)
    text = (tmp_path / "check.html").read_text("utf-8")
    for finding in report.findings:
        assert f'id="{finding.name}"' in text
    assert "again 1.png" in text
    assert "broken.png" in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text), "nothing is fetched"
    assert "default-src 'none'" in text
    thumbs = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert thumbs
    assert all(thumb.startswith("data:image/webp;base64,") for thumb in thumbs)
    assert {int(n) for n in re.findall(r'data-thumb="(\d+)"', text)} == set(range(len(thumbs)))


def test_names_are_text(seen):
    text = page(*seen)
    assert "<img src=x" not in text
    assert "<i>dog" not in text
    assert text.count("</script>") == 2


def test_suspects_show_both_labels_and_bars_their_intervals(seen):
    report, evidence = seen
    chart = ("gain", (("cat", 0.03, 0.01, 0.05), ("<i>dog", 0.0, None, None)))
    suspects = Finding("warning", 1, "m", "d", (Row("cat/0.png", "cat", "90%", suggested="<i>dog"),), chart, "suspects")
    text = page(Report(report.root, 1, 2, (suspects,), ("suspects",)), evidence)
    assert 'class="given">cat' in text
    assert 'class="better">&lt;i&gt;dog' in text
    assert "+3.0 %" in text
    assert "<u style=" in text


def test_it_stays_small(seen, monkeypatch):
    report, evidence = seen
    rows = tuple(Row(path, "cat", "x") for path in evidence.index.paths) * 40
    many = tuple(Finding("note", len(rows), "m", "d", rows, None, f"finding{i}") for i in range(5))
    large = page(Report(report.root, 1, 2, many, ()), evidence)
    assert "more are in check.csv" in large
    monkeypatch.setattr(check_page, "BUDGET", 5_000)
    assert len(page(report, evidence)) < len(large)


def test_nothing_found_and_nothing_readable(tmp_path, seen):
    _, evidence = seen
    assert "Nothing was found" in page(Report(evidence.index.root, 3, 2, (), ("a",)), evidence)
    for label in "ab":
        (tmp_path / "gone" / label).mkdir(parents=True)
        (tmp_path / "gone" / label / "1.png").write_bytes(b"")
    index = open_source(tmp_path / "gone")
    empty = gather(index, survey(index))
    text = page(run_checks(empty, ["unreadable"]), empty)
    assert "Samples" in text
    assert np.all(empty.readable == [])
