"""The README's tables of measurements, written anew from benchmarks/results."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS

README = Path(__file__).parent.parent / "README.md"
BETWEEN = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.DOTALL)


def write_table(results: Path) -> None:
    """Put what the results say between the README's two marks."""
    found = [json.loads(file.read_text()) for file in sorted(results.glob("*.json"), key=_by_number)]
    parts = [tables(kind, found) for kind in (peers, minutes, loading, steps, startup, label_noise)]
    text = "\n".join(part for part in parts if part)
    README.write_text(BETWEEN.sub(lambda _: text, README.read_text()))


def _by_number(file: Path) -> list[tuple[int, str]]:
    """Orders names as people do, 5 before 10."""
    return [(int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", file.stem)]


def tables(kind: Any, found: list[dict[str, Any]]) -> str:
    """One table of all results of a kind, or nothing."""
    name, head, rows_of = kind
    rows = [" | ".join(row) for result in found if _is(result, name) for row in rows_of(result)]
    rule = "|".join("---" for _ in head)
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {row} |" for row in rows), ""]) if rows else ""


def _is(result: dict[str, Any], name: str) -> bool:
    return result["benchmark"] == name and "skipped" not in result


def _peers(result: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, row in result["trainers"].items():
        title = "**Shoebox**" if name == "shoebox" else PEERS[name][0]
        ahead = "" if name == "shoebox" else f"{result['points_ahead'][name]:+.1f}"
        given = f"{result['data']}, {result['minutes']:g} min"
        rows.append([given, title, f"{row['accuracy']:.3f}", f"{row['seconds'] / 60:.1f}", ahead, *where(result)])
    return rows


def _minutes(result: dict[str, Any]) -> list[list[str]]:
    return [
        [
            result["data"],
            f"{row['minutes']:g}",
            f"{row['seconds'] / 60:.2f}",
            str(row["seed"]),
            f"{row['part']} {row['accuracy']:.4f}",
            f"`{row['model']}`",
            f"{row['peak_gib']:.2f}",
            *where(result),
        ]
        for row in result["rows"]
    ]


def _loading(result: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{result['data']}, {result['side_px']} px",
            f"{result['imagefolder_per_second']:,.0f}",
            f"{result['later_epochs_per_second']:,.0f}",
            f"{result['later_epochs_ratio']:.0f}×",
            f"{result['packing_per_second']:,.0f}",
            f"{result['packing_share']:.2f}",
            *where(result),
        ]
    ]


def _steps(result: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"`{name}`, 32 px",
            f"{row['gflops']:.0f}",
            f"{row['pictures_per_second']:.0f}",
            f"{row['share_of_sgemm']:.2f}",
            f"{row['share_of_product']:.2f}",
            *where(result),
        ]
        for name, row in result["steps"].items()
    ]


def _startup(result: dict[str, Any]) -> list[list[str]]:
    """What does not depend on the pictures is told once, of the digits."""
    rows = []
    for name, row in result.items():
        training = name.startswith("train ")
        if isinstance(row, dict) and "median" in row and (training or result["data"] == "digits"):
            told = f"{name}, {result['data']}" if training else f"`{name}`"
            rows.append([told, f"{row['median']:.2f}", *where(result)])
    return rows


def _label_noise(result: dict[str, Any]) -> list[list[str]]:
    rows = []
    for kind, found in result.items():
        if isinstance(found, dict) and "wrong" in found:
            ours, plain = found["shoebox"], found["cleanlab"]
            figures = [ours["precision"], ours["recall"], ours["auprc"], plain["auprc"]]
            rows.append(
                [f"`{kind}`, {found['wrong']:.1%} wrong", *(f"{figure:.2f}" for figure in figures), *where(result)]
            )
    return rows


def where(result: dict[str, Any]) -> list[str]:
    """On which processor, and when."""
    return [str(result["machine"][key]) for key in ("processor", "date")]


peers = (
    "peers",
    ["data, time", "trainer", "accuracy", "minutes taken", "Shoebox is ahead by, points", "processor", "date"],
    _peers,
)
minutes = (
    "minutes",
    ["data", "minutes asked", "taken", "seed", "accuracy", "network chosen", "most memory, GiB", "processor", "date"],
    _minutes,
)
loading = (
    "loading",
    [
        "data",
        "ImageFolder + DataLoader, pictures/s",
        "Shoebox, later epochs",
        "ratio",
        "packing",
        "of what two cores of Pillow decode",
        "processor",
        "date",
    ],
    _loading,
)
steps = (
    "steps",
    [
        "training step of",
        "GFLOP/s",
        "pictures/s",
        "of sgemm's rate",
        "of the product's in the step's own type",
        "processor",
        "date",
    ],
    _steps,
)
startup = ("startup", ["from a cold process", "seconds", "processor", "date"], _startup)
label_noise = (
    "label_noise",
    [
        "labels people gave CIFAR-10 (CIFAR-10N)",
        "precision of `check --labels`",
        "recall",
        "area under the curve",
        "plain cleanlab's",
        "processor",
        "date",
    ],
    _label_noise,
)
