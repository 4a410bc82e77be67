"""The report as Markdown, for a wiki, an issue or a terminal.

In: a `Report` and where its figures lie. Out: text.
"""

from collections.abc import Mapping, Sequence

from shoebox.evaluation.listing import class_rows, corruptions, tiles
from shoebox.evaluation.report import Report
from shoebox.evaluation.verdict import plainly, shown


def markdown(report: Report, images: Mapping[str, str]) -> str:
    """The words, the figures and the tables of a report.

    Args:
        images: what each figure shows, to its file as a link from where the text will lie.
    """
    parts = [f"# {_plain(report.title)}", _plain(report.subtitle), f"**{_plain(report.verdict.headline)}**"]
    parts.append("\n".join(f"- {_plain(sentence)}" for sentence in report.verdict.sentences))
    if report.verdict.advice:
        parts += [
            "## What would help",
            "\n".join(f"- **{_plain(a.do)}** {_plain(a.why)}" for a in report.verdict.advice),
        ]
    rows = [[one["name"], one["value"], one["range"]] for one in tiles(report.intervals)]
    parts += ["## Figures", _table(["figure", "value", "95 % interval"], rows)]
    classes = [
        [row["name"], *(_share(row[key]) for key in ("recall", "precision")), f"{row['support']:,}", row["taken_for"]]
        for row in class_rows(report.evaluation, report.learnt_from)
    ]
    heads = ["class", "found", "right when named", "pictures", "most often taken for"]
    parts += ["## Class by class", _table(heads, classes)]
    worse = [one for one in report.slices if one.worse]
    if worse:
        kinds = [
            [f"{one.kind}: {one.name}", f"{one.pictures:,}", _share(one.accuracy), _share(one.rest)] for one in worse
        ]
        parts += ["## Kinds of pictures it is worse at", _table(["kind", "pictures", "right", "the others"], kinds)]
    parts += [*_reliance(report), *_spoilt(report)]
    parts += [f"## {_plain(about)}\n\n![{_plain(about)}]({link})" for about, link in images.items()]
    parts += ["## Details", _table(["what", ""], [list(fact) for fact in report.facts])]
    parts += [f"Note: {_plain(note)}" for note in report.notes]
    parts.append(f"Made by Shoebox {report.version} on {report.made}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _reliance(report: Report) -> list[str]:
    """The sections on what can be relied on."""
    found, apart, parts = report.trust, report.strangers, []
    if found:
        parts.append(
            f"## Can its confidence be trusted?\n\nConfidence and accuracy lay {shown(found.before)} apart before "
            f"calibration and lie {shown(found.after)} apart after it (temperature {found.temperature:.2f})."
        )
        kept = [
            [plainly(one.error), shown(one.threshold), shown(one.answered), shown(one.wrong)]
            if one.answered
            else [plainly(one.error), "too few pictures to promise it", "", ""]
            for one in found.kept
        ]
        parts.append(_table(["at most wrong", "answer if sure by", "answered", "of those wrong"], kept))
        sets = [
            [plainly(round(1 - one.error, 6)), shown(one.held), f"{one.size:.2f}", shown(one.single)]
            for one in found.sets
        ]
        parts.append(_table(["right class among those named", "it was", "classes named", "just one"], sets))
    if apart:
        parts.append(
            f"Of {len(apart.foreign):,} pictures of none of its classes it noticed {shown(apart.found)}, and took "
            f"{shown(apart.false_alarms)} of its own for such (AUROC {apart.auroc:.3f})."
        )
    return parts


def _spoilt(report: Report) -> list[str]:
    found = corruptions(report.robustness)
    if not found:
        return []
    rows = [[row["name"], *map(shown, row["accuracies"])] for row in found["rows"]]
    heads = ["spoilt by", *(f"severity {severity} of 5" for severity in found["severities"])]
    return [f"## When pictures are worse\n\nAs they are, {shown(found['plain'])} are right.", _table(heads, rows)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(value: float) -> str:
    return shown(value) if value == value else "–"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: no name is a tag, a link or a cell's end."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
