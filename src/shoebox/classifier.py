"""Classifier: a network, its classes and its preprocessing in one thing. The centre of the house.

In: picture files, bytes or uint8 arrays. Out: a table of predictions, or an Evaluation. A saved classifier is a folder
with `model.safetensors`, `config.json` and `README.md` (the card) and needs nothing else; nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress
from shoebox.base.runtime import choose_device, memory_kept
from shoebox.card import card_text
from shoebox.data.batches import batches
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, pack
from shoebox.data.picture import Unreadable, load
from shoebox.data.preprocess import Preprocess
from shoebox.data.reading import work_through
from shoebox.data.sources import open_source
from shoebox.data.split import read_split
from shoebox.evaluation.answers import answer, columns, ranks
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.results import write_results
from shoebox.evaluation.robustness import Robustness, robustness
from shoebox.models import Network, build_model
from shoebox.models.folding import fold
from shoebox.pipeline import Pipeline

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Version of the saved folder. A newer one is refused by name rather than misread."""


class Classifier:
    """A trained network that knows its classes and how its pictures are prepared.

    Args:
        model: the specification the network was built from, which `load` builds again.
        network: on any device.
        classes: names, in the order of the logits.
        preprocess: how a picture becomes the network's input.
        card: what is known of it (data, figures, recipe), as plain JSON values.
        device: "auto", "cpu", "cuda", …
        folder: where it is saved, if it is.
    """

    def __init__(
        self,
        model: str,
        network: Network,
        classes: Sequence[str],
        preprocess: Preprocess,
        card: dict[str, Any] | None = None,
        device: str = "auto",
        folder: Path | None = None,
    ) -> None:
        self.model = model
        self.folder = folder
        self.classes = tuple(classes)
        self.preprocess = preprocess
        self.card = dict(card or {})
        self.device = choose_device(device)
        self.pipeline = Pipeline(network, preprocess).place(self.device).eval()

    @torch.inference_mode()
    def scores(self, pictures: Tensor, network: Network | None = None) -> tuple[Tensor, Tensor]:
        """Logits (N, K) float32 and features (N, D) of stored pixels uint8 (N, 3, S, S), in float32 arithmetic.

        `network` is one that computes the same features in another way.
        """
        features = self.pipeline.seen(self.pipeline.inputs(pictures.to(self.device)), network)
        return self.pipeline.logits(features).cpu(), features.float().cpu()

    def predict(self, pictures: Any, top: int = 3, *, batch_size: int = 64, progress: Progress = QUIET) -> pd.DataFrame:
        """Say what is in each picture.

        Args:
            pictures: a path, bytes, an array uint8 (H, W, 3), or a sequence of these.
            top: how many classes to give per picture.

        Returns:
            one row a picture, in order: path, label, confidence (0 to 1), label_2, confidence_2, …, status ("ok", or
            why the picture could not be read; label and confidence are then missing).
        """
        import pandas as pd

        single = isinstance(pictures, (str, Path, bytes, np.ndarray))
        rows = self.predictions([pictures] if single else pictures, top, batch_size=batch_size)
        total = 1 if single else len(pictures) if isinstance(pictures, Sequence) else None
        return pd.DataFrame(list(progress.track(rows, total, "predicting")), columns=self.columns(top))

    def predictions(self, pictures: Iterable[Any], top: int = 3, *, batch_size: int = 64) -> Iterator[dict[str, Any]]:
        """`predict` as a stream: rows come as they are ready, and only a few batches are ever in memory."""
        ranks(len(self.classes), top)
        for item, found in work_through(pictures, self.preprocess, self.probabilities, chunk=batch_size):
            path = str(item) if isinstance(item, (str, Path)) else ""
            if isinstance(found, Unreadable):
                yield {"path": path, "status": found.reason}
            else:
                yield answer(path, found, self.classes, top)

    def probabilities(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (N, K) of stored pixels uint8 (N, S, S, 3), as `shoebox.data.picture.load` gives them."""
        answers: NDArray[np.float32] = self.scores(torch.from_numpy(pictures).permute(0, 3, 1, 2))[0].softmax(1).numpy()
        return answers

    def predict_proba(self, pictures: Sequence[Any], *, batch_size: int = 64) -> NDArray[np.float64]:
        """Probabilities (N, K) float64 of pictures, each a path, bytes or an array uint8 (H, W, 3).

        Raises:
            Unreadable: the first that cannot be decoded.
        """
        found = [np.empty((0, len(self.classes)))]
        for start in range(0, len(pictures), batch_size):
            loaded = np.stack([load(_source(item), self.preprocess) for item in pictures[start : start + batch_size]])
            logits = self.scores(torch.from_numpy(loaded).permute(0, 3, 1, 2))[0]
            found.append(logits.double().softmax(1).numpy())
        return np.concatenate(found)

    def columns(self, top: int) -> list[str]:
        """The names of the columns `predict` gives."""
        return columns(len(self.classes), top)

    def evaluate(
        self,
        data: str | Path | ImageIndex,
        part: str | None = None,
        *,
        results: Path | str | None = None,
        cache: Path | None = None,
        progress: Progress = QUIET,
    ) -> Evaluation:
        """Score labelled pictures.

        Args:
            data: anything `open_source` understands. Pictures that this classifier's own run split into parts keep
                those parts.
            part: "train", "val" or "test"; by default test, else val, else every labelled picture.
            results: a folder to write figures and tables to.

        Raises:
            UsageError: a class of the pictures is unknown to the classifier, or the part is empty.
        """
        packed, chosen = self.open_part(data, part, cache=cache, progress=progress)
        evaluation = self.score(packed, np.arange(len(packed)), chosen, progress=progress)
        if results is not None:
            write_results(Path(results), self.folder, evaluation, packed)
        return evaluation

    def open_part(
        self,
        data: str | Path | ImageIndex,
        part: str | None = None,
        *,
        cache: Path | None = None,
        progress: Progress = QUIET,
    ) -> tuple[Pack | Stream, str]:
        """The labelled pictures of one part, packed for this classifier, and the part's name; arguments and errors as
        `evaluate`."""
        index = self.open_index(data, cache=cache, progress=progress)
        chosen = part or next((p for p in ("test", "val") if (index.part == p).any()), "")
        index = index.take((index.labels >= 0) & ((index.part == chosen) | (not chosen)))
        if not len(index):
            raise UsageError(f"{index.root} has no labelled pictures{f' in its {chosen} part' if chosen else ''}")
        return pack(index, self.preprocess, cache=cache, progress=progress), chosen

    def open_index(
        self, data: str | Path | ImageIndex, *, cache: Path | None = None, progress: Progress = QUIET
    ) -> ImageIndex:
        """The pictures of `data` under this classifier's classes, in the parts that its own run gave them; arguments
        and errors as `evaluate`."""
        index = data if isinstance(data, ImageIndex) else open_source(data, cache=cache, progress=progress)
        return self._split_as_trained(index.relabelled_to(self.classes))

    def robustness(
        self,
        data: str | Path | ImageIndex,
        part: str | None = None,
        *,
        cache: Path | None = None,
        progress: Progress = QUIET,
    ) -> list[Robustness]:
        """Accuracy on up to 2,000 labelled pictures under each corruption; arguments and errors as `evaluate`."""
        packed, _ = self.open_part(data, part, cache=cache, progress=progress)
        return robustness(lambda seen: self.scores(seen)[0], packed, np.arange(len(packed)), progress=progress)

    def score(
        self,
        packed: Pack | Stream,
        rows: NDArray[np.int64],
        part: str = "",
        *,
        batch_size: int | None = None,
        progress: Progress = QUIET,
    ) -> Evaluation:
        """Score rows of a pack whose classes are these, batch norms folded, and keep what all figures derive from."""
        with torch.inference_mode():
            few = torch.from_numpy(packed.gather(rows[:4])).permute(0, 3, 1, 2).to(self.device)
            folded = fold(self.pipeline.network, self.pipeline.inputs(few))
        batch_size = batch_size or self.pipeline.at_once(self.preprocess.looks)
        stream = batches(packed, rows, batch_size=batch_size, device=self.device)
        logits, features = (torch.empty(len(rows), some.shape[1]) for some in self.scores(few, folded))
        with memory_kept():
            for i, batch in enumerate(progress.track(stream, -(-len(rows) // batch_size), f"scoring {part}".strip())):
                here = slice(i * batch_size, (i + 1) * batch_size)
                logits[here], features[here] = self.scores(batch.pictures, folded)
        return Evaluation(
            paths=tuple(packed.index.paths[row] for row in rows.tolist()),
            labels=packed.index.labels[rows],
            logits=logits.numpy(),
            classes=self.classes,
            features=features.half().numpy(),
            part=part,
        )

    def _split_as_trained(self, index: ImageIndex) -> ImageIndex:
        """The parts that this classifier's run gave to these pictures, so that none it learnt from is scored as new."""
        record = None if self.folder is None else self.folder / "split.csv"
        if record is None or not record.is_file():
            return index
        try:
            return read_split(index, record)
        except ShoeboxError:
            return index

    def config(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values, under the keys that timm uses where it has any."""
        size = self.preprocess.size
        return {
            "format": FORMAT,
            "architecture": self.model,
            "num_classes": len(self.classes),
            "label_names": list(self.classes),
            "temperature": float(self.pipeline.temperature),
            "preprocess": self.preprocess.to_dict(),
            "pretrained_cfg": {
                "input_size": [3, size, size],
                "mean": list(self.preprocess.mean),
                "std": list(self.preprocess.std),
                "interpolation": self.preprocess.interpolation,
                "crop_pct": 1.0,
                "crop_mode": self.preprocess.fit,
                "num_classes": len(self.classes),
            },
            "card": self.card,
        }

    def save(self, folder: Path | str) -> None:
        """Write `model.safetensors`, `config.json` and `README.md`, each atomically."""
        from safetensors.torch import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous().cpu() for name, tensor in self.pipeline.network.state_dict().items()}
        config = self.config()
        with atomic_write(folder / "model.safetensors") as file:
            file.write(save(state))
        with atomic_write(folder / "config.json", "w") as file:
            json.dump(config, file, indent=2, ensure_ascii=False)
        with atomic_write(folder / "README.md", "w") as file:
            file.write(card_text(config))

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto") -> Classifier:
        """Read a saved classifier.

        Raises:
            UsageError: there is no classifier in `folder`.
            ShoeboxError: its files are damaged, or made by a newer Shoebox, or by a network that is not registered.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        config_path, weights_path = folder / "config.json", folder / "model.safetensors"
        if not config_path.is_file() or not weights_path.is_file():
            raise UsageError(
                f"{folder} is not a trained classifier: expected a folder with config.json and model.safetensors, "
                "as `shoebox train` writes"
            )
        try:
            config = json.loads(config_path.read_text(encoding="utf-8"))
            if config["format"] > FORMAT:
                raise ShoeboxError(f"{folder} was saved by a newer Shoebox (format {config['format']}): update Shoebox")
            classes, preprocess = config["label_names"], Preprocess.from_dict(config["preprocess"])
            network = build_model(config["architecture"], classes=len(classes), size=preprocess.size)
            network.load_state_dict(load_file(weights_path))
            classifier = cls(config["architecture"], network, classes, preprocess, config["card"], device, folder)
            classifier.pipeline.temperature.fill_(config["temperature"])
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as e:
            raise ShoeboxError(f"{folder} holds a damaged classifier ({str(e).splitlines()[0]}): train it again") from e
        return classifier


def _source(item: Any) -> Path | bytes | NDArray[np.uint8]:
    return Path(item) if isinstance(item, str) else item
