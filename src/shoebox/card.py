"""The model card: what a saved classifier tells of itself in its README.md.

In: its config as plain values, of which everything but the classes and the preprocessing may be missing. Out: Markdown.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from shoebox.evaluation.text import visible

FITS = {
    "squash": "the whole picture, its aspect ratio ignored",
    "crop": "its centre",
    "pad": "the whole picture between grey bars",
}
PARTS = {"train": "training", "val": "validation", "test": "test"}
NAMES = {
    "top_k": "among the best five",
    "roc_auc": "ROC-AUC",
    "ece": "ECE",
    "adaptive_ece": "adaptive ECE",
    "mcc": "MCC",
}
FEW = 50
"""Training pictures of a class below which the card warns of it."""
NAMED = 20
"""Classes up to which the card lists them one by one."""


def card_text(config: dict[str, Any]) -> str:
    """The model card in Markdown: what the classifier tells apart, how good it is and where not, how it was made."""
    card, names = config["card"], config["label_names"]
    sections = [
        _opening(card, names, config),
        _figures(card, len(names)),
        _errors(card),
        _calibration(card),
        _limits(card, config),
        _data(card, names),
        _making(card),
        "## Use\n\n    shoebox predict THIS_FOLDER PICTURES\n",
    ]
    return "\n\n".join(section.strip("\n") for section in sections if section) + "\n"


def _opening(card: dict[str, Any], names: list[str], config: dict[str, Any]) -> str:
    listed = ", ".join(map(_plain, names[:NAMED]))
    return (
        "---\nlibrary_name: shoebox\npipeline_tag: image-classification\n---\n\n"
        f"# {_plain(card.get('name', 'An image classifier'))}\n\n"
        f"Tells {len(names)} classes apart: {listed}{', …' if len(names) > NAMED else ''}.\n\n"
        f"Network `{config['architecture']}`; each picture becomes a square of {config['preprocess']['size']} px "
        f"({FITS[config['preprocess']['fit']]}).\n"
    )


def _figures(card: dict[str, Any], classes: int) -> str:
    """Every figure of every part; with its 95 % interval where that is known."""
    text = ""
    for part in ("test", "val"):
        figures = card.get("figures", {}).get(part) or {k: (v,) for k, v in (card.get(part) or {}).items()}
        if figures:
            rows = [
                (NAMES.get(name, name.replace("_", " ")), _number(f[0]), _interval(*f[1:]))
                for name, f in figures.items()
                if name != "top_k" or classes > 5  # of five classes the right one is always among the best five
            ]
            text += f"## On the {PARTS[part]} pictures\n\n{_table(('figure', 'value', '95 % interval'), rows)}\n"
    return text


def _errors(card: dict[str, Any]) -> str:
    errors = card.get("errors")
    if not errors:
        return ""
    lines = [f"## Where it errs ({PARTS[errors['part']]} pictures)\n"]
    rows = [
        (_plain(row["class"]), _number(row["recall"]), _number(row["precision"]), row["support"])
        for row in errors["weakest"]
    ]
    lines.append(
        "The classes it finds least often:\n\n" + _table(("class", "found", "right when said", "pictures"), rows)
    )
    if errors["confusions"]:
        confused = (
            f"{_plain(c['true'])} taken for {_plain(c['predicted'])} ({c['pictures']})" for c in errors["confusions"]
        )
        lines.append(f"Most confused: {'; '.join(confused)}.\n")
    if errors["worse"]:
        worse = [
            (_plain(one["kind"]), _plain(one["name"]), one["pictures"], _number(one["accuracy"]), _number(one["rest"]))
            for one in errors["worse"]
        ]
        heads = ("slice", "which", "pictures", "accuracy", "elsewhere")
        lines.append(f"Significantly worse on these slices, of {errors['slices']} looked at:\n\n{_table(heads, worse)}")
    else:
        lines.append(f"Of {errors['slices']} slices (size, brightness, sharpness, …) none is significantly worse.\n")
    return "\n".join(lines)


def _calibration(card: dict[str, Any]) -> str:
    calibration = card.get("calibration")
    if not calibration:
        return ""
    if not calibration["pictures"]:
        return (
            "## Confidence\n\nNot calibrated: there was no validation part. Do not take confidences as probabilities.\n"
        )
    lines = [
        f"## Confidence\n\nIts logits are divided by a temperature of {calibration['temperature']:.3f}, fitted on "
        f"{calibration['pictures']:,} validation pictures.\n"
    ]
    rows = [
        (
            PARTS[part],
            *(
                _number(calibration[part][when][name])
                for name in ("ece", "adaptive_ece")
                for when in ("before", "after")
            ),
        )
        for part in ("val", "test")
        if part in calibration
    ]
    heads = ("pictures", "ECE before", "ECE after", "adaptive ECE before", "adaptive ECE after")
    return "\n".join([*lines, _table(heads, rows)])


def _limits(card: dict[str, Any], config: dict[str, Any]) -> str:
    """What not to rely on, as far as the run itself shows it."""
    limits = [
        "It knows no other classes: a picture of anything else is given one of these.",
        f"It sees squares of {config['preprocess']['size']} px: what is too small to be seen so does not count.",
    ]
    parts = card.get("split", {}).get("parts", {})
    if "test" in parts:
        limits.append(
            "The figures hold for pictures like those of the test part; on pictures from elsewhere expect less."
        )
    elif parts:
        limits.append(
            "There was no test part. The figures are of the validation part, which chose the epoch and the "
            "temperature, and flatter."
        )
    few = [name for name, count in parts.get("train", {}).get("classes", {}).items() if count < FEW]
    if few:
        listed = ", ".join(map(_plain, few[:NAMED])) + (", …" if len(few) > NAMED else "")
        limits.append(f"Learnt from fewer than {FEW} pictures each: {listed}.")
    return "## Limits\n\n" + "".join(f"- {limit}\n" for limit in limits)


def _data(card: dict[str, Any], names: list[str]) -> str:
    split = card.get("split")
    if not split:
        return ""
    parts = split["parts"]
    heads = ("class", *(PARTS[part] for part in parts))
    rows = [(_plain(name), *(parts[part]["classes"].get(name, 0) for part in parts)) for name in names[:NAMED]]
    if len(names) > NAMED:
        rows.append(("…", *("…" for _ in parts)))
    rows.append(("all", *(f"{parts[part]['pictures']:,}" for part in parts)))
    skipped = f"\n{split['skipped']:,} files could not be read and were left out.\n" if split["skipped"] else ""
    return f"## Data\n\nPictures of `{_code(split['source'])}`:\n\n{_table(heads, rows)}{skipped}"


def _making(card: dict[str, Any]) -> str:
    """Recipe, environment and receipt."""
    text = ""
    if recipe := card.get("recipe"):
        settings = {key: value for key, value in recipe.items() if value not in (None, "", [])}
        kept = (
            f"{card['epochs']} epochs, of which epoch {card['best_epoch']} was kept" if "epochs" in card else "Trained"
        )
        text += f"## Recipe\n\n{kept}; on {card.get('runtime', 'a machine that is not recorded')}.\n\n"
        text += "".join(f"    {key}: {_code(value)}\n" for key, value in settings.items()) + "\n"
    for title, key in (("Environment", "environment"), ("Receipt", "receipt")):
        if facts := card.get(key):
            text += f"## {title}\n\n" + "".join(f"- {name}: `{_code(value)}`\n" for name, value in facts.items()) + "\n"
    if "receipt" in card:
        text += (
            "The same pictures (`data`: the fingerprint of their names, sizes, times, labels and parts), the same\n"
            "code and seed, and the `recipe.yaml` of this folder train this classifier again:\n\n"
            "    shoebox train PICTURES --recipe THIS_FOLDER/recipe.yaml --run ANOTHER_FOLDER\n"
        )
    return text


def _table(heads: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    lines: list[Iterable[object]] = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _number(value: float | None) -> str:
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _interval(low: float | None = None, high: float | None = None) -> str:
    known = low is not None and math.isfinite(low)
    return f"{_number(low)} to {_number(high)}" if known else ""


def _plain(value: object) -> str:
    """A name that can neither end a table's cell nor be taken for markup."""
    return "".join(f"\\{c}" if c in "\\|`*_<>[]" else c for c in visible(str(value)))


def _code(value: object) -> str:
    """A value that cannot end the code that it stands in."""
    return visible(" ".join(str(value).split())).replace("`", "'")
