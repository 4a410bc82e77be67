"""What is wrong with the pictures: the registry of checks, what they look at, and the table of what they find.

In: an index and its survey (`Evidence`). Out: a `Report` of findings, the worst first, for the terminal, as JSON and as
`check.csv`, from which `shoebox fix` works. A check is a function of the evidence that gives a `Finding` or None; those
that need a network's features read them from `Evidence.learnt`, which somebody above fills in.
"""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import QUIET, Progress
from shoebox.base.registry import Registry
from shoebox.base.tables import harmless, write_rows
from shoebox.data.index import UNLABELLED, ImageIndex
from shoebox.data.likeness import grey_thumbs
from shoebox.data.survey import Records
from shoebox.data.twins import Twins, find_twins

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Error: a score measured on these pictures is not to be believed, or files are lost. Warning: the classifier suffers.
Note: worth knowing."""

Action = Literal["", "quarantine", "relabel", "drop"]
COLUMNS = ("check", "severity", "path", "label", "suggested", "action", "group", "detail")


class Row(NamedTuple):
    """One picture, or one class, that a check is about.

    Attributes:
        path: of a picture, as in the index; "" where the row is about a class.
        label: the name of its class; "" without one.
        detail: what was seen, short.
        group: rows with the same number belong together.
        suggested: a better label.
        action: what `shoebox fix` would do if asked: set aside, relabel, or drop as one copy too many.
    """

    path: str = ""
    label: str = ""
    detail: str = ""
    group: int | None = None
    suggested: str = ""
    action: Action = ""


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Attributes:
        severity: of `SEVERITIES`.
        count: how many pictures, or classes, are concerned.
        means: what it means, one line.
        do: what to do, one line.
        rows: the table, the worst first.
        chart: columns of numbers to draw: a title, then (name, value, low, high) a bar; low and high may be None.
        name: of the check.
    """

    severity: Severity
    count: int
    means: str
    do: str
    rows: tuple[Row, ...] = ()
    chart: tuple[str, tuple[tuple[str, float, float | None, float | None], ...]] | None = None
    name: str = ""

    @property
    def said(self) -> str:
        """What it means after the number found: "1 picture of …", "2 pictures of …"."""
        means = re.sub(r"\b1 (group|original)s\b", r"1 \1", self.means)
        if self.count == 1:
            means = re.sub(r"^((?:tiny |blurred )?)(picture|file|label|classe)s", _one, means, count=1)
            means = re.sub(r"^(\w+) that are\b", r"\1 that is", means)
        return means


def _one(noun: re.Match[str]) -> str:
    return noun[1] + ("class" if noun[2] == "classe" else noun[2])


@dataclass(frozen=True, eq=False)
class Curve:
    """How well each class is recognised with fewer pictures to learn from.

    Attributes:
        sizes: (S,) how many pictures were learnt from, rising.
        accuracy: (R, S) over all held-out pictures, a repetition a row.
        recall: (R, S, K) of each class; nan where none of it was held out.
    """

    sizes: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a network makes of the labelled pictures.

    Attributes:
        rows: (M,) int64, which rows of the index.
        features: (M, D) float32, along their main directions.
        neighbours, cosines: (M, k) positions in `rows` of the nearest others, nearest first, and how near they are.
        probabilities: (M, K) float64, each from a probe that did not learn from that picture.
        how: where the features come from, for the reader.
        curve: of learning from fewer pictures, or None.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    cosines: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    how: str
    curve: Curve | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What checks look at; `gather` makes it.

    Attributes:
        index: N pictures.
        records: (N,) of the survey, in the index's order.
        readable: rows of the pictures that could be opened.
        twins: near-duplicates among them, by rows of the index.
        learnt: what a network makes of them; None where none was asked.
    """

    index: ImageIndex
    records: Records
    readable: NDArray[np.int64]
    twins: Twins
    learnt: Learnt | None = None

    def label(self, row: int) -> str:
        """The name of a picture's class; "" if it has none."""
        number = int(self.index.labels[row])
        return "" if number == UNLABELLED else self.index.classes[number]

    def row(self, row: int, detail: str = "", **more: Any) -> Row:
        """The entry of one picture."""
        return Row(self.index.paths[row], self.label(row), detail, **more)


def gather(index: ImageIndex, records: Records) -> Evidence:
    """The evidence that needs no network.

    Args:
        records: (N,) of `shoebox.data.survey`, in the index's order.
    """
    readable = np.flatnonzero(records["problem"] == b"")
    found = find_twins(grey_thumbs(records["thumb"][readable]), index.labels[readable])
    return Evidence(index, records, readable, replace(found, count=len(index), pairs=readable[found.pairs]))


Check = Callable[[Evidence], Finding | None]
CHECKS: Registry[Check] = Registry("check")


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        root: the data set's folder.
        pictures, classes: how many there are.
        findings: the worst first, then the most numerous.
        ran: names of all checks that were made.
    """

    root: Path
    pictures: int
    classes: int
    findings: tuple[Finding, ...]
    ran: tuple[str, ...]

    def worst(self) -> Severity | None:
        """The severity of the worst finding."""
        return self.findings[0].severity if self.findings else None

    def text(self, source: str, csv: str = "check.csv") -> str:
        """A table for a person; `source` is what the data set was called, `csv` where the table of rows is."""
        lines = [f"{self.pictures:,} pictures of {self.classes:,} classes in {self.root}", ""]
        for f in self.findings:
            lines.append(f"{f.severity:8} {f.name.replace('_', ' '):20} {f.count:>7,}  {f.said}")
            lines.append(f"{'':38}→ {f.do}")
        if not self.findings:
            lines.append(f"nothing found by {len(self.ran)} checks")
        fixes = {row.action for f in self.findings for row in f.rows} - {""}
        options = {"quarantine": "--quarantine", "relabel": "--relabel", "drop": "--drop-duplicates"}
        if fixes:
            chosen = " ".join(option for action, option in options.items() if action in fixes)
            command = f"shoebox fix {shlex.quote(source)} --from {shlex.quote(csv)} {chosen}"
            lines += ["", f"what of it can be fixed, and undone again: {command}"]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        findings = [
            {
                "name": f.name,
                "severity": f.severity,
                "count": f.count,
                "means": f.means,
                "do": f.do,
                "rows": [row._asdict() for row in f.rows],
            }
            for f in self.findings
        ]
        shape = {"root": str(self.root), "pictures": self.pictures, "classes": self.classes}
        return {**shape, "worst": self.worst(), "checks": list(self.ran), "findings": findings}

    def write(self, path: Path) -> None:
        """Write every row of every finding as CSV, for `shoebox fix` and for a spreadsheet."""
        rows = [
            {"check": f.name, "severity": f.severity, **row._asdict(), "group": "" if row.group is None else row.group}
            for f in self.findings
            for row in f.rows
        ]
        write_rows(path, rows, COLUMNS)


def run_checks(evidence: Evidence, names: Iterable[str] | None = None, *, progress: Progress = QUIET) -> Report:
    """Make checks.

    Args:
        evidence: what they look at.
        names: which; all that are registered if None.
    """
    names = tuple(CHECKS if names is None else names)
    findings = []
    for name in progress.track(names, len(names), "checks"):
        found = CHECKS[name](evidence)
        if found is not None and found.count:
            findings.append(replace(found, name=name))
    findings.sort(key=lambda f: (SEVERITIES.index(f.severity), -f.count))
    present = np.unique(evidence.index.labels[evidence.index.labels != UNLABELLED])
    return Report(evidence.index.root, len(evidence.index), len(present), tuple(findings), names)


def is_report(path: Path) -> bool:
    """Whether a file is a `check.csv`, by its first line."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline().strip() == ",".join(COLUMNS)
    except OSError:
        return False


def read_report(path: Path) -> list[dict[str, str]]:
    """The rows of a `check.csv`.

    Raises:
        ShoeboxError: it cannot be read, or is something else.
    """
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error, UnicodeDecodeError) as e:
        raise ShoeboxError(f"{path} cannot be read ({e}): make it with shoebox check DATA") from None
    if rows and not {"path", "action", "suggested"} <= rows[0].keys():
        raise ShoeboxError(f"{path} is not the table of shoebox check: expected the columns {', '.join(COLUMNS)}")
    return rows


def real_names(names: Iterable[str]) -> dict[str, str]:
    """From how a `check.csv` shows a path or class to its name; two that are shown alike are left out."""
    real: dict[str, str] = {}
    twice = set()
    for name in names:
        shown = str(harmless(name))
        if real.setdefault(shown, name) != name:
            twice.add(shown)
    return {shown: name for shown, name in real.items() if shown not in twice}
