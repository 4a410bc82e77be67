"""The page: names are text and never code, it asks for nothing, and every control and link on it leads somewhere."""

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.listing import corruptions, tiles
from shoebox.evaluation.markdown import markdown
from shoebox.evaluation.novelty import Apart
from shoebox.evaluation.report import page
from shoebox.evaluation.robustness import Robustness

sys.path.insert(0, str(Path(__file__).parent))
from reporting import CLASSES, HOSTILE, history, made, scored


class Read(HTMLParser):
    """What a browser would make of a page: its elements in order, and the text of some."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.inside, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        tag = self.open[-1] if self.open else ""
        self.inside[tag] = self.inside.get(tag, "") + data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def text():
    return page(made())


def test_case_27_names_that_are_html_are_shown_and_never_run(text):
    read = Read(text)
    assert read.inside["title"] == f"Report of {HOSTILE} · report"
    assert read.inside["h1"] == f"Report of {HOSTILE}"
    assert [attrs.get("type") for attrs in read.all("script")] == ["application/json", None]
    assert not read.all("img")
    assert not [name for _, attrs in read.elements for name in attrs if name.startswith("on")]
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["classes"] == list(CLASSES)
    assert HOSTILE in markdown_unescaped(markdown(made(), {HOSTILE: "1.png"}))
    assert HOSTILE not in markdown(made(), {HOSTILE: "1.png"})


def markdown_unescaped(written):
    return re.sub(r"\\(.)", r"\1", written)


def test_only_its_own_script_may_run_and_nothing_is_requested(text):
    read = Read(text)
    policy = next(attrs["content"] for attrs in read.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    links = [
        attrs[key] for _, attrs in read.elements for key in ("src", "href", "xlink:href", "action") if key in attrs
    ]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"url\((?!#)", text) and "@import" not in text and "fetch(" not in script


def test_every_link_and_label_leads_somewhere_and_no_id_is_there_twice(text):
    read = Read(text)
    ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in read.elements:
        pointed = [attrs.get("aria-labelledby"), attrs.get("for"), (attrs.get("href") or "").removeprefix("#")]
        assert tag == "link" or all(not one or one in ids for one in pointed), attrs
    wanted = set(re.findall(r'\$\("([\w-]+)"\)', text))
    assert wanted and wanted <= set(ids)


def test_the_same_report_gives_the_same_page(text):
    assert page(made()) == text


def test_the_words_and_figures_are_those_of_the_evaluation(text):
    report = made()
    assert report.verdict.headline in text
    assert "80.0" in text and tiles(report.intervals)[0]["value"] == "80.0\N{NO-BREAK SPACE}%"
    assert "12 pictures" in text or "4 of its 12" in text


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([], ("a", "b")),
        ([-1, -1, -1], ("a", "b")),
        ([0], ("a", "b")),
        ([0, 0, 0, 0], ("a", "")),
        ([1, 0] * 4, ("\ud800", "b\n")),
    ],
    ids=["none", "unlabelled", "one", "one class", "odd names"],
)
def test_few_or_odd_pictures(labels, classes):
    count = len(labels)
    logits = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    evaluation = Evaluation(
        tuple(map(str, range(count))), np.array(labels, np.int64), logits, classes, logits.astype(np.float16)
    )
    report = made(evaluation, history=None, learnt_from=())
    written = page(report)
    assert written.encode("utf-8")
    for tag, words in Read(written).inside.items():
        assert tag in ("script", "text") or not re.search(r"\bnan\b", words), words
    assert markdown(report, {}).encode("utf-8")


def test_many_classes_have_a_figure_for_a_matrix():
    written = page(made(scored(tuple(f"class {k}" for k in range(30)), 120)))
    assert 'aria-label="Confusion matrix: true classes by predicted classes"' in written


def test_corruptions_are_a_table_with_the_most_harmful_first():
    names = ("noise", "blur")
    measured = [Robustness("none", 0, 0.8, 0.75, 0.85)]
    measured += [Robustness(n, s, 0.7 - 0.1 * s * (n == "blur"), 0, 1) for n in names for s in (1, 3)]
    found = corruptions(measured)
    assert found["severities"] == [1, 3] and found["margin"] == pytest.approx(0.05)
    assert [row["name"] for row in found["rows"]] == ["Blur", "Noise"]
    assert found["rows"][0]["accuracies"] == pytest.approx([0.6, 0.4])
    assert corruptions([]) is None
    written = page(made(robustness=tuple(measured)))
    assert "When pictures are worse" in written and "When pictures are worse" not in page(made())


def test_foreign_pictures_have_a_part_of_their_own():
    apart = Apart(np.linspace(0, 3, 50), np.linspace(2, 5, 30), 2.5, 0.9)
    report = made(strangers=apart)
    assert "Pictures of none of its classes" in page(report)
    assert "AUROC 0.900" in markdown(report, {})


def test_markdown_has_the_figures_and_no_name_is_markup():
    written = markdown(made(history=history(2)), {"Confusion matrix": "report-figures/1.png"})
    assert "![Confusion matrix](report-figures/1.png)" in written
    assert "| Accuracy | 80.0\N{NO-BREAK SPACE}% |" in written
    rows = [line for line in written.splitlines() if line.startswith("| ")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    heads = [number for number, line in enumerate(rows) if set(line) <= set("| -")]
    for head in heads:
        assert widths[head - 1] == widths[head]


@pytest.mark.slow
def test_a_browser_reads_it_wide_and_narrow_light_and_dark_by_keyboard(tmp_path):
    pytest.importorskip("playwright.sync_api")
    from reading import find_browser, read

    if find_browser() is None:
        pytest.skip("no browser is installed")
    measured = [Robustness("none", 0, 0.8, 0.75, 0.85), Robustness("noise", 3, 0.4, 0.3, 0.5)]
    apart = Apart(np.linspace(0, 3, 50), np.linspace(2, 5, 30), 2.5, 0.9)
    (tmp_path / "report.html").write_text(page(made(robustness=tuple(measured), strangers=apart)), encoding="utf-8")
    assert read(tmp_path / "report.html") == []
