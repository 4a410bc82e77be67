"""What an exported classifier says about itself, in the words of those who read such files.

In: a Classifier. Out: the metadata of the graph (Ultralytics' keys and timm's), and the folder's `config.json` and
card.
"""

import json
from typing import Any

from shoebox.base.version import VERSION
from shoebox.classifier import Classifier
from shoebox.deploy.backends import INPUT, OUTPUTS


def graph_metadata(classifier: Classifier) -> dict[str, str]:
    """The graph's own properties, as text.

    `names`, `task`, `imgsz`, `stride`, `batch`, `channels`, `author`, `version`, `description` as Ultralytics writes
    them; `architecture`, `num_classes`, `label_names`, `pretrained_cfg` as timm does; `preprocess` and `temperature`
    are Shoebox's.
    """
    side = classifier.preprocess.store
    config = classifier.config()
    ultralytics = {
        "names": repr(dict(enumerate(classifier.classes))),
        "task": "classify",
        "imgsz": str([side, side]),
        "stride": "1",
        "batch": "1",
        "channels": "3",
        "author": "Shoebox",
        "version": VERSION,
        "description": f"{classifier.model}, {len(classifier.classes)} classes: {INPUT} uint8 (N, {side}, {side}, 3) "
        f"RGB to {OUTPUTS[0]} float32 (N, {len(classifier.classes)}), calibrated",
    }
    keys = ("architecture", "num_classes", "label_names", "pretrained_cfg", "preprocess", "temperature")
    return ultralytics | {key: _text(config[key]) for key in keys}


def exported_config(classifier: Classifier, name: str) -> dict[str, Any]:
    """The `config.json` of an exported folder: the classifier's own, and what it was exported as."""
    return {**classifier.config(), "exported": name, "shoebox": VERSION}


def readme(classifier: Classifier, name: str, files: list[str]) -> str:
    """How to use the folder, with Shoebox and without."""
    side, count = classifier.preprocess.store, len(classifier.classes)
    fit = classifier.preprocess.fit
    model = next(file for file in files if file.startswith("model"))
    page = "Open `index.html` in a browser: it needs no network, and no picture leaves it.\n\n" if name == "web" else ""
    return f"""# {classifier.card.get("name", classifier.model)}, exported as {name}

{page}`{model}` takes `{INPUT}`, uint8 (N, {side}, {side}, 3) RGB, and gives `{OUTPUTS[0]}`, float32 (N, {count}), and
`{OUTPUTS[1]}`, what the last layer saw. Normalising, calibration and softmax are in the graph. A picture is brought to
{side} × {side} by {fit} ({classifier.preprocess.interpolation}, antialiased). The classes are `label_names` in
`config.json`, in that order.

`certificate.json` says on how many validation pictures it answers as the trained classifier does, and on which not.

    shoebox predict THIS_FOLDER photo.jpg
"""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
