"""Diagnose: everything that can be said about a data set before training on it.

In: anything `open_source` understands. Out: a `Report`, its `check.csv`, and one page of HTML if asked for. Looking at
files and pixels is always done; labels, outliers and learning curves need a network and are done on request.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shoebox.base.errors import UsageError
from shoebox.base.progress import QUIET, Progress
from shoebox.data import checks
from shoebox.data.check import CHECKS, Report, gather, is_report, run_checks
from shoebox.data.index import ImageIndex
from shoebox.data.sources import open_source
from shoebox.data.survey import survey
from shoebox.evaluation import label_issues, learning_curve, outliers
from shoebox.evaluation.check_page import write_page
from shoebox.training.learnt import learn

# The modules that register what is checked; those of `evaluation` need a network.
GROUPS = (*(getattr(checks, name) for name in checks.__all__), label_issues, outliers, learning_curve)
NETWORK = {name for name, check in CHECKS.items() if check.__module__.startswith(label_issues.__package__ or " ")}


def diagnose(
    data: str | Path | ImageIndex,
    *,
    labels: bool = False,
    weights: Path | None = None,
    csv: Path | None = None,
    html: Path | None = None,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = QUIET,
) -> Report:
    """Check a data set.

    Args:
        data: a folder, archive, table, named set, or an index that is already made.
        labels: also look for wrong labels, outliers, and what more pictures would bring; takes minutes.
        weights: a .safetensors file of a known architecture for that; by default a backbone on this disk, or networks
            trained on these pictures. Implies `labels`.
        csv: where the table of all rows goes.
        html: where the page goes.

    Raises:
        UsageError: `csv` is another program's table, which is not written over; else as `open_source`.
        ShoeboxError: as `open_source`.
        MissingExtra: `labels` without cleanlab.
    """
    if csv is not None and csv.exists() and not is_report(csv):
        raise UsageError(f"{csv} is there already and is no table of shoebox check: choose another name with --csv")
    if labels or weights is not None:
        label_issues.require_cleanlab()
    index = data if isinstance(data, ImageIndex) else open_source(data, cache=cache, progress=progress)
    evidence = gather(index, survey(index, cache=cache, progress=progress))
    if labels or weights is not None:
        rows = evidence.readable
        groups = evidence.twins.clusters()[rows]
        learnt = learn(index.take(rows), groups, weights, cache=cache, device=device, progress=progress)
        evidence = replace(evidence, learnt=replace(learnt, rows=rows[learnt.rows]))
    names = [name for name in CHECKS if evidence.learnt is not None or name not in NETWORK]
    report = run_checks(evidence, names, progress=progress)
    if csv is not None:
        report.write(csv)
    if html is not None:
        write_page(html, report, evidence)
    return report
