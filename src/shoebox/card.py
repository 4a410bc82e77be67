"""The model card: what a saved classifier tells of itself in its README.md."""

from typing import Any

FITS = {
    "squash": "the whole picture, its aspect ratio ignored",
    "crop": "its centre",
    "pad": "the whole picture between grey bars",
}


def card_text(config: dict[str, Any]) -> str:
    """The model card in Markdown: what the classifier tells apart, how it was made, what it scored, how to use it."""
    card, names = config["card"], config["label_names"]
    lines = [
        "---",
        "library_name: shoebox",
        "pipeline_tag: image-classification",
        "---",
        "",
        f"# {card.get('name', 'An image classifier')}",
        "",
        f"Tells {len(names)} classes apart: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}.",
        "",
        f"Network `{config['architecture']}`; each picture becomes a square of {config['preprocess']['size']} px "
        f"({FITS[config['preprocess']['fit']]}).",
        "",
    ]
    for part in ("test", "val"):
        figures = card.get(part)
        if figures:
            lines += [
                f"## On the {'test' if part == 'test' else 'validation'} pictures",
                "",
                "| figure | value |",
                "|---|---|",
            ]
            lines += [f"| {name} | {value:.4f} |" for name, value in figures.items()] + [""]
    lines += ["## Use", "", "    shoebox predict THIS_FOLDER PICTURES", ""]
    return "\n".join(lines)
