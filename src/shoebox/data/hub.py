"""Data sets of the Hugging Face hub (`hf:owner/name`) as folders of picture files in the cache.

The pictures' own bytes are written, undecoded, so that the one decoder of Shoebox reads them like all others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shoebox.base.errors import MissingExtra, ShoeboxError
from shoebox.base.progress import QUIET, Progress
from shoebox.data.named import folder_name
from shoebox.data.names import one_line, part_of
from shoebox.data.signature import HEAD, sniff
from shoebox.data.stash import stash

_LABELS = ("label", "labels", "fine_label", "class", "category", "target")


def hub_folder(name: str, cache: Path, *, progress: Progress = QUIET) -> Path:
    """The folder of a data set of the hub, fetched and written on first use.

    Args:
        name: "owner/name".
        cache: the result is in its `hub`. `HF_HOME` and `HF_HUB_OFFLINE` are honoured by the library.

    Raises:
        MissingExtra: the library `datasets` is not installed.
        ShoeboxError: it cannot be fetched, or has no column of pictures or of labels.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtra("datasets", "hf") from None

    def build(folder: Path) -> None:
        progress.say(f"fetching {name} from the Hugging Face hub")
        for split, table in datasets.load_dataset(name).items():
            _write_split(folder / (part_of(split) or "train"), split, table, datasets, progress)

    try:
        return stash(cache / "hub" / folder_name(name.replace("/", "--")), build)
    except ShoeboxError:
        raise
    except Exception as e:  # the library's errors have no common ancestor; each means that the set is not to be had
        raise ShoeboxError(
            f"hf:{one_line(name)} cannot be fetched ({one_line(str(e).partition(chr(10))[0])}): check its name and the "
            "network, or give a folder instead"
        ) from e


def _write_split(folder: Path, split: str, table: Any, datasets: Any, progress: Progress) -> None:
    features: Mapping[str, Any] = table.features
    pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [name for name in _LABELS if name in features]
    labels += [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if not pictures or not labels:
        raise ShoeboxError(
            f"a data set whose columns are {', '.join(features)}: expected one of pictures and one of labels "
            f"({', '.join(_LABELS)})"
        )
    feature = features[labels[0]]
    table = table.cast_column(pictures[0], datasets.Image(decode=False))
    for i, row in enumerate(progress.track(table, total=len(table), label=f"writing {split}")):
        value = row[labels[0]]
        named = isinstance(feature, datasets.ClassLabel) and isinstance(value, int) and value >= 0
        label = feature.int2str(value) if named else str(value)
        content = row[pictures[0]]["bytes"] or Path(row[pictures[0]]["path"]).read_bytes()
        kind = (sniff(content[:HEAD]).format or "jpeg").lower()
        place = folder / folder_name(label)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{split}-{i:06d}.{kind}").write_bytes(content)
