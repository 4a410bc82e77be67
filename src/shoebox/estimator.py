"""ShoeboxClassifier: the main job for those who think in scikit-learn.

ShoeboxClassifier(minutes=5).fit(paths, labels).predict(more_paths)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from shoebox.base.errors import UsageError
from shoebox.data.index import ImageIndex
from shoebox.training.train import train


class ShoeboxClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn estimator over `shoebox.train`.

    Args:
        recipe: a shipped recipe's name or a YAML file; by default as `shoebox.train` chooses.
        run: the run's folder; by default a temporary one that lives as long as the estimator.
        settings: fields of the recipe to replace, e.g. {"epochs": 5}.
        device: "auto", "cpu", "cuda", …

    Attributes:
        classes_: the labels, sorted; columns of `predict_proba` are in this order.
        classifier_: the trained `Classifier`.
    """

    def __init__(
        self,
        recipe: str | None = None,
        run: str | None = None,
        settings: dict[str, Any] | None = None,
        device: str = "auto",
    ) -> None:
        self.recipe = recipe
        self.run = run
        self.settings = settings
        self.device = device

    def fit(self, X: Sequence[Any] | NDArray[np.uint8], y: Sequence[Any]) -> ShoeboxClassifier:
        """Train on pictures X (paths, or uint8 arrays (N, H, W, 3)) with labels y (N,).

        Raises:
            UsageError: X and y differ in length, or X holds something else.
        """
        if len(X) != len(y):
            raise UsageError(f"{len(X)} pictures but {len(y)} labels")
        self._folder = tempfile.TemporaryDirectory(prefix="shoebox-")
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        index = ImageIndex(
            root=Path("/"),
            paths=tuple(_paths(X, Path(self._folder.name) / "pictures")),
            labels=labels.astype(np.int64),
            classes=tuple(str(c) for c in self.classes_),
            part=np.full(len(X), "", dtype="<U5"),
        )
        run = self.run or str(Path(self._folder.name) / "run")
        done = train(index, self.recipe, run=run, device=self.device, **{"test": 0.0, **(self.settings or {})})
        self.classifier_ = done.classifier
        return self

    def predict_proba(self, X: Sequence[Any] | NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities (N, K) float64, columns as in `classes_`.

        Raises:
            Unreadable: a picture cannot be decoded; scikit-learn's contract has no way to leave one out.
        """
        check_is_fitted(self, "classifier_")
        probabilities: NDArray[np.float64] = self.classifier_.predict_proba(list(X))
        return probabilities

    def predict(self, X: Sequence[Any] | NDArray[np.uint8]) -> NDArray[Any]:
        """The most likely label (N,) of each picture."""
        best: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return best


def _paths(pictures: Iterable[Any], folder: Path) -> Iterable[str]:
    """Absolute paths of pictures; arrays are written to `folder` as PNG files first, so that one path serves both."""
    from PIL import Image

    for number, picture in enumerate(pictures):
        if isinstance(picture, (str, Path)):
            yield str(Path(picture).absolute())
        elif isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim in (2, 3):
            folder.mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number:08d}.png")
            yield str(folder / f"{number:08d}.png")
        else:
            raise UsageError(
                f"picture {number} is {type(picture).__name__}: expected a path or a uint8 array (H, W, 3)"
            )
