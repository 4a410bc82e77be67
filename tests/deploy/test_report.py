"""Reports of a trained classifier: by the command and from Python, with its own pictures and with others."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from shoebox.base.errors import UsageError
from shoebox.classifier import Classifier
from shoebox.data.preprocess import Preprocess
from shoebox.deploy import gathering, picturing, printing
from shoebox.deploy import report as module
from shoebox.deploy.report import report
from shoebox.models import build_model
from shoebox.models.summary import summary

HOSTILE = "<script>alert(1)</script>"


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


def test_a_run_reports_on_the_pictures_it_was_trained_with(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    out = tmp_path / "one.html"
    result = report(trained[0], part="val", out=out)
    kept = np.load(trained[0] / "val.npz")["labels"]
    assert result["pictures"] == result["shown"] == len(kept)
    assert result["report"] == str(out) and result["markdown"] is None and result["pdf"] is None
    data = data_of(out)
    assert data["classes"] == ["cat", "dog", "owl"]
    first = data["pictures"][0]
    assert len(first["near"]) == 3 and data["training"][first["near"][0][0]]["thumb"]
    assert all(one["heat"] for one in data["pictures"])
    assert all(sum(share for _, share in one["top"]) == pytest.approx(1, abs=1e-3) for one in data["pictures"])
    text = out.read_text(encoding="utf-8")
    assert "the validation pictures also chose the best epoch" in text
    again = tmp_path / "two.html"
    report(trained[0], trained[1], part="val", out=again)
    assert again.read_bytes() == out.read_bytes()


def test_other_pictures_and_a_class_that_looks_like_html(tmp_path):
    torch.manual_seed(0)
    network = build_model("simple(width=8, hidden=16)", classes=2, size=16)
    Classifier("simple(width=8, hidden=16)", network, (HOSTILE, "dog"), Preprocess(store=16, size=16)).save(
        tmp_path / "run"
    )
    lines = ["path,label"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{(HOSTILE, 'dog')[number % 2]}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    result = report(tmp_path / "run", tmp_path / "table.csv")
    page = tmp_path / "run" / "report.html"
    assert result["pictures"] == 12 and result["report"] == str(page)
    assert data_of(page)["classes"] == [HOSTILE, "dog"]
    assert page.read_text().count("<script") == 2
    assert not data_of(page)["training"]  # nothing is known of what it learnt from


def test_foreign_and_spoilt_pictures(trained, make_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "LEAST", 5)
    make_folder(tmp_path / "foreign", {"plane": 6})
    report(trained[0], part="val", foreign=tmp_path / "foreign", out=tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Shown 6 pictures of none of its classes" in text and "of 18 validation pictures" in text
    assert "When pictures are worse" in text
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    (run / "val.npz").unlink()
    with pytest.raises(UsageError, match=r"val\.npz"):
        report(run, foreign=tmp_path / "foreign", out=tmp_path / "r.html")


def test_heat_maps_are_for_the_surest_mistakes_where_there_is_little_time(trained, tmp_path, monkeypatch):
    work = summary(Classifier.load(trained[0]).pipeline.network, 16).multiply_adds
    monkeypatch.setattr(picturing, "HEAT_WORK", picturing.BACK * work * 5.5)
    report(trained[0], part="val", out=tmp_path / "r.html")
    pictures = data_of(tmp_path / "r.html")["pictures"]
    wrong = sorted((one for one in pictures if one["label"] != one["predicted"]), key=lambda one: -one["confidence"])
    assert len(wrong) > 2
    assert [len(one["heat"]) for one in wrong[:3]] == [2, 2, 0]
    assert sum(len(one["heat"]) for one in pictures) <= 5


def test_markdown_and_a_pdf_without_a_browser(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_browser", lambda: None)
    result = report(trained[0], out=tmp_path / "r.html", markdown_too=True, pdf_too=True)
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(linked) >= 5 and all((tmp_path / link).is_file() for link in linked)
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")
    assert result["markdown"] == str(tmp_path / "r.md") and result["pdf"] == str(tmp_path / "r.pdf")


@pytest.mark.skipif(printing.find_browser() is None, reason="no browser is installed")
def test_a_browser_prints_the_page(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<h1>A page</h1>")
    printing.print_page(printing.find_browser(), page, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_a_browser_that_fails_is_told_of_and_leaves_no_file(tmp_path):
    (tmp_path / "page.html").write_text("<h1>A page</h1>")
    with pytest.raises(printing.ShoeboxError, match="could not print"):
        printing.print_page(shutil.which("false"), tmp_path / "page.html", tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


@pytest.mark.parametrize("name", ["report.txt", "nowhere/report.html"])
def test_where_it_cannot_be_written(trained, tmp_path, name):
    with pytest.raises(UsageError, match=r"ending in \.html"):
        report(trained[0], out=tmp_path / name)


def test_pictures_that_are_not_there_are_asked_for(trained, saved, tmp_path):
    with pytest.raises(UsageError, match="name the pictures"):
        report(saved, out=tmp_path / "r.html")
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    (run / "run.json").write_text(json.dumps({"root": str(tmp_path / "gone")}))
    with pytest.raises(UsageError, match="no longer"):
        report(run, out=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_verb(trained, tmp_path, run_command):
    done = run_command(["shoebox", "report", str(trained[0]), "--out", str(tmp_path / "r.html"), "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() == {"report", "markdown", "pdf", "pictures", "shown", "accuracy", "headline", "seconds"}
    assert "95\N{NO-BREAK SPACE}% interval" in result["headline"]
    assert (tmp_path / "r.html").is_file()
