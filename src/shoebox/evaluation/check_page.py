"""The page of a check: one HTML file that needs nothing else, with every finding shown in pictures.

In: a `Report` and its `Evidence`. Out: thumbnails, sortable tables, the classes, the pictures' sizes, copies side by
side, suspects with the given and the suggested label. No request leaves the page; a name is text, whatever it holds.
"""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.files import atomic_write
from shoebox.base.tables import speakable
from shoebox.data.check import Evidence, Finding, Report, Row
from shoebox.data.index import UNLABELLED
from shoebox.data.names import one_line
from shoebox.data.picture import Unreadable, decode
from shoebox.evaluation.text import visible

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 48  # pictures of a finding, or groups of them
TOGETHER = 8  # pictures of one group
LISTED = 400  # rows of a finding's table
SIDE = 112  # px of a thumbnail's longer side
BUDGET = 3_400_000  # bytes of all thumbnails
POINTS = 3_000  # of the figure of sizes


@dataclass(frozen=True)
class Card:
    """A picture on the page: its thumbnail's number, what is said below it."""

    thumb: int
    name: str
    label: str
    suggested: str
    detail: str


@dataclass(frozen=True)
class Part:
    """A finding as the page shows it."""

    finding: Finding
    title: str
    groups: tuple[tuple[Card, ...], ...]
    cards: tuple[Card, ...]
    rows: tuple[dict[str, Any], ...]
    more: int
    bars: tuple[dict[str, Any], ...]


def write_page(path: Path, report: Report, evidence: Evidence) -> None:
    """Write the page, atomically.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_write(path, "w") as file:
        file.write(page(report, evidence))


def page(report: Report, evidence: Evidence) -> str:
    """The page as text."""
    import jinja2

    row_of = {name: row for row, name in enumerate(evidence.index.paths)}
    wanted: dict[int, int] = {}

    def thumb(row: int) -> int:
        return wanted.setdefault(row, len(wanted))

    samples = [
        _card(Row(evidence.index.paths[row], evidence.label(row)), thumb(row)) for row in _samples(evidence).tolist()
    ]
    parts = [_part(finding, row_of, thumb) for finding in report.findings]
    pictures = _thumbnails(evidence, list(wanted))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script = (TEMPLATES / "check.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    counts = {
        severity: sum(f.severity == severity for f in report.findings) for severity in ("error", "warning", "note")
    }
    return environment.get_template("check.html").render(
        css=jinja2.Environment(autoescape=False).from_string((TEMPLATES / "page.css").read_text("utf-8")).render()
        + (TEMPLATES / "check.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"'sha256-{digest}'",
        data=json.dumps(pictures),
        title=_shown(report.root.name or str(report.root)),
        root=_shown(str(report.root)),
        report=report,
        counts=counts,
        parts=parts,
        classes=_classes(evidence),
        samples=samples,
        sizes=_sizes(evidence),
    )


def _part(finding: Finding, row_of: dict[str, int], thumb: Any) -> Part:
    pictured = [row for row in finding.rows if row.path in row_of]
    groups: list[tuple[Card, ...]] = []
    cards: list[Card] = []
    if pictured and pictured[0].group is not None:
        members: dict[int, list[Row]] = {}
        for row in pictured:
            members.setdefault(row.group or 0, []).append(row)
        for rows in list(members.values())[:SHOWN]:
            groups.append(tuple(_card(row, thumb(row_of[row.path])) for row in rows[:TOGETHER]))
    elif finding.name != "unreadable":
        cards = [_card(row, thumb(row_of[row.path])) for row in pictured[:SHOWN]]
    listed = tuple(
        {name: _shown(value) if isinstance(value, str) else value for name, value in row._asdict().items()}
        for row in finding.rows[:LISTED]
    )
    title = finding.name.replace("_", " ")
    return Part(finding, title, tuple(groups), tuple(cards), listed, max(0, len(finding.rows) - LISTED), _bars(finding))


def _card(row: Row, thumb: int) -> Card:
    return Card(thumb, _shown(row.path), _shown(row.label), _shown(row.suggested), _shown(row.detail))


def _bars(finding: Finding) -> tuple[dict[str, Any], ...]:
    """The finding's chart, in per cent of its longest bar."""
    if finding.chart is None or not finding.chart[1]:
        return ()
    shown = finding.chart[1][:40]
    most = max(max(value, high or 0.0) for _, value, _, high in shown) or 1.0
    return tuple(
        {
            "name": _shown(name),
            "value": f"{value:,.0f}" if most > 5 else f"{value:.3f}" if most > 0.5 else f"{100 * value:+.1f} %",
            "width": 100 * max(value, 0) / most,
            "low": None if low is None else 100 * low / most,
            "high": None if high is None else 100 * high / most,
        }
        for name, value, low, high in shown
    )


def _samples(evidence: Evidence, count: int = 32) -> NDArray[np.int64]:
    """Readable pictures of the classes in turn, the same on every call."""
    rows = np.random.default_rng(0).permutation(evidence.readable)
    labels = evidence.index.labels[rows]
    turn = np.zeros(len(rows), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        turn[mine] = np.arange(mine.sum())
    chosen: NDArray[np.int64] = rows[np.lexsort((labels, turn))[:count]]
    return chosen


def _classes(evidence: Evidence, most: int = 60) -> list[dict[str, Any]]:
    labels = evidence.index.labels
    counts = np.bincount(labels[labels != UNLABELLED], minlength=len(evidence.index.classes))
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        {
            "name": _shown(evidence.index.classes[i]),
            "count": int(counts[i]),
            "width": 100 * counts[i] / max(counts.max(), 1),
        }
        for i in order.tolist()
    ]


def _sizes(evidence: Evidence) -> dict[str, Any]:
    """Points of the figure of widths and heights, on logarithmic axes within 0 … 100; bigger where there are many."""
    rows = evidence.readable
    if not len(rows):
        return {}
    width = evidence.records["width"][rows].astype(np.float64)
    height = evidence.records["height"][rows].astype(np.float64)
    pairs, counts = np.unique(np.stack([width, height], 1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:POINTS]
    low, high = min(width.min(), height.min()), max(width.max(), height.max())
    low, high = low / 1.25, high * 1.25
    scale = 100 / np.log(high / low)
    ticks = [t for t in (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384) if low <= t <= high]
    return {
        "points": [
            {
                "x": round(float(scale * np.log(pairs[i, 0] / low)), 2),
                "y": round(100 - float(scale * np.log(pairs[i, 1] / low)), 2),
                "r": round(0.5 + 2.5 * float(np.sqrt(counts[i] / counts.max())), 2),
            }
            for i in order.tolist()
        ],
        "ticks": [{"at": round(float(scale * np.log(t / low)), 2), "name": str(t)} for t in ticks],
        "usual": f"{np.median(width):.0f} × {np.median(height):.0f}",
        "smallest": f"{width[np.argmin(width * height)]:.0f} × {height[np.argmin(width * height)]:.0f}",
        "largest": f"{width[np.argmax(width * height)]:.0f} × {height[np.argmax(width * height)]:.0f}",
    }


def _thumbnails(evidence: Evidence, rows: Sequence[int]) -> list[str]:
    """A data URL each; smaller ones where all of them would not fit the page."""
    for side in (SIDE, 80, 56, 32):
        made, size = [], 0
        for row in rows:
            made.append(_thumbnail(evidence, row, side))
            size += len(made[-1])
            if size > BUDGET * 4 / 3 and side != 32:
                break
        else:
            return made
    return []


def _thumbnail(evidence: Evidence, row: int, side: int) -> str:
    from PIL import Image

    try:
        image = Image.fromarray(decode(evidence.index.file(row), at_least=side))
    except Unreadable:
        return "data:,"
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=72, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _shown(name: str) -> str:
    return visible(speakable(one_line(name)))
