"""The `Evaluation`: what a classifier said about one part, kept once; every figure, table and report derives from it.

In: paths, labels, logits, class names and, if kept, features. Out: metrics, the per-class report, the confusion
matrix, the mistakes, a table with a row a picture; and one `.npz` file, read without network, pictures or pickle.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.base.files import atomic_write, when_damaged
from shoebox.evaluation.metrics import measure, per_class, softmax
from shoebox.evaluation.tables import report_text

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1  # of the saved file; raised when a reader of the old form would misread the new one


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One classifier on one part.

    Attributes:
        paths: of the N pictures, as the index has them.
        labels: (N,) int64 in 0…K-1, or -1 where the class is not known.
        logits: (N, K) float32, as the classifier takes its softmax of them (after its temperature), so that
            `probabilities` are those that a prediction shows.
        classes: the K names, in the order of the logits.
        features: (N, D) float16 that the network's head saw, or None if they were not kept.
        part: "train", "val", "test", or "" where it has no name.

    Raises:
        ValueError: the shapes do not fit together or a label is out of range.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    classes: tuple[str, ...]
    features: NDArray[np.float16] | None = None
    part: str = ""

    def __post_init__(self) -> None:
        n, k = len(self.paths), len(self.classes)
        if self.labels.shape != (n,) or self.logits.shape != (n, k):
            raise ValueError(
                f"an evaluation of {n} paths and {k} classes has labels {self.labels.shape} and logits "
                f"{self.logits.shape}: expected ({n},) and ({n}, {k})"
            )
        if self.features is not None and (self.features.ndim != 2 or len(self.features) != n):
            raise ValueError(f"features {self.features.shape} do not belong to {n} pictures: expected ({n}, D)")
        if n and not (self.labels.min() >= -1 and self.labels.max() < k):
            raise ValueError(f"labels {self.labels.min()}…{self.labels.max()} are out of range: expected -1…{k - 1}")

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, K) float64: the softmax of the logits."""
        return softmax(self.logits)

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """(N,) int64: the class of highest probability, the first of equals."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def confidences(self) -> NDArray[np.float64]:
        """(N,) float64: the probability of the predicted class."""
        return np.take_along_axis(self.probabilities, self.predictions[:, None], axis=1)[:, 0]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) bool: the rows whose class is known. Only these count in metrics, report, confusion and mistakes."""
        return self.labels >= 0

    def metrics(self) -> dict[str, float]:
        """Loss and the six metrics (see `shoebox.evaluation.metrics.measure`)."""
        return measure(self.labels, self.logits)

    def confusion(self) -> NDArray[np.int64]:
        """(K, K) int64 counts: a row a true class, a column a predicted one."""
        k = len(self.classes)
        cells = self.labels[self.labelled] * k + self.predictions[self.labelled]
        return np.bincount(cells, minlength=k * k).reshape(k, k)

    def wrong(self) -> NDArray[np.int64]:
        """(n,) int64 rows of the mistakes, the most confident first (equals in the order of the rows)."""
        rows = np.flatnonzero(self.labelled & (self.predictions != self.labels))
        return rows[np.argsort(-self.confidences[rows], kind="stable")]

    def report(self) -> "pd.DataFrame":
        """Precision, recall, F1 and support: a row a class, then "accuracy", "macro avg" and "weighted avg".

        Returns:
            DataFrame with columns precision, recall, f1 (float64) and support (int64), indexed by name. All K classes
            are there; one that occurs neither in the labels nor in the predictions is nan and does not count in
            "macro avg".
            "accuracy" stands in the column f1, as scikit-learn prints it; its precision and recall are nan.
        """
        import pandas as pd

        labels, predictions = self.labels[self.labelled], self.predictions[self.labelled]
        scores = per_class(labels, predictions, len(self.classes))
        support = np.bincount(labels, minlength=len(self.classes))
        if len(labels):
            accuracy = np.array([np.nan, np.nan, np.mean(labels == predictions)])
            macro = np.nanmean(scores, axis=1)
            weighted = np.nansum(scores * support, axis=1) / len(labels)
        else:
            accuracy = macro = weighted = np.full(3, np.nan)
        table = np.vstack([scores.T, accuracy, macro, weighted])
        # Names as objects: pandas's own strings cannot hold a name that is not UTF-8.
        names = pd.Index([*self.classes, "accuracy", "macro avg", "weighted avg"], dtype=object)
        frame: pd.DataFrame = pd.DataFrame(table, index=names, columns=["precision", "recall", "f1"])
        frame["support"] = np.append(support, [len(labels)] * 3).astype(np.int64)
        return frame

    def report_text(self) -> str:
        """The report as lines of text, laid out like scikit-learn's classification report."""
        return report_text(self.report())

    def to_frame(self) -> "pd.DataFrame":
        """A row a picture: path, label, predicted (names), confidence (0…1) and correct.

        label and correct are None where the class is not known. Paths and names are as they are on the disk: whoever
        writes them to a file escapes them.
        """
        import pandas as pd

        known = self.labelled
        frame: pd.DataFrame = pd.DataFrame(
            {
                "path": pd.Series(self.paths, dtype=object),
                "label": pd.Series([self.classes[i] if i >= 0 else None for i in self.labels], dtype=object),
                "predicted": pd.Series([self.classes[i] for i in self.predictions], dtype=object),
                "confidence": self.confidences,
                "correct": pd.Series(
                    [bool(p == i) if k else None for p, i, k in zip(self.predictions, self.labels, known, strict=True)],
                    dtype=object,
                ),
            }
        )
        return frame

    def save(self, path: Path) -> None:
        """Write everything to one `.npz` file, atomically; its folder must exist.

        Raises:
            OSError: it cannot be written; what was there before is untouched.
        """
        arrays: dict[str, NDArray[np.generic]] = {
            "format": np.array(FORMAT),
            "labels": self.labels,
            "logits": self.logits,
            **_to_arrays("paths", self.paths),
            **_to_arrays("classes", self.classes),
            **_to_arrays("part", (self.part,)),
        }
        if self.features is not None:
            arrays["features"] = self.features
        with atomic_write(path) as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        """Read what `save` wrote. Nothing in the file is ever executed.

        Raises:
            ShoeboxError: it is missing, damaged, or of another format.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                if int(stored["format"]) != FORMAT:
                    raise ValueError(f"its format is {int(stored['format'])}, this version of Shoebox reads {FORMAT}")
                return cls(
                    paths=_from_arrays("paths", stored),
                    labels=stored["labels"],
                    logits=stored["logits"],
                    classes=_from_arrays("classes", stored),
                    features=stored.get("features"),
                    part=_from_arrays("part", stored)[0],
                )
        except when_damaged() as e:
            raise ShoeboxError(f"{path} cannot be read as an evaluation ({e}): evaluate again to write it anew") from e


def _to_arrays(name: str, texts: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """Strings as one buffer of bytes and the N + 1 places where they begin and end.

    A file's name need not be UTF-8: Python holds its odd bytes as lone surrogates, which go back to those bytes here.
    """
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return {f"{name}_bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}_ends": ends}


def _from_arrays(name: str, stored: "np.lib.npyio.NpzFile") -> tuple[str, ...]:
    buffer, ends = stored[f"{name}_bytes"].tobytes(), stored[f"{name}_ends"].tolist()
    return tuple(buffer[start:end].decode("utf-8", "surrogateescape") for start, end in pairwise(ends))
