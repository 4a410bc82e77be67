"""Shoebox: a shoebox of pictures in, a classifier out.

    import shoebox
    run = shoebox.train("pictures/", minutes=10)
    run.classifier.predict(["photo.jpg"])

The names below are loaded when first used, so that importing the package costs nothing.
"""

import importlib

from shoebox.base.version import VERSION

TYPE_CHECKING = False
"""As of `typing`, which takes longer to import than all of this."""

if TYPE_CHECKING:
    from shoebox.base.errors import ShoeboxError, UsageError
    from shoebox.base.recipe import Recipe
    from shoebox.classifier import Classifier
    from shoebox.data.index import ImageIndex
    from shoebox.data.preprocess import Preprocess
    from shoebox.data.sources import open_source
    from shoebox.estimator import ShoeboxClassifier
    from shoebox.evaluation.evaluation import Evaluation
    from shoebox.models.network import MODELS, Network
    from shoebox.training.fit import fit
    from shoebox.training.train import Run, train

__version__ = VERSION

_HOMES = {
    "MODELS": "shoebox.models",
    "Classifier": "shoebox.classifier",
    "Evaluation": "shoebox.evaluation.evaluation",
    "ImageIndex": "shoebox.data.index",
    "Network": "shoebox.models",
    "Preprocess": "shoebox.data.preprocess",
    "Recipe": "shoebox.base.recipe",
    "Run": "shoebox.training.train",
    "ShoeboxClassifier": "shoebox.estimator",
    "ShoeboxError": "shoebox.base.errors",
    "UsageError": "shoebox.base.errors",
    "fit": "shoebox.training.fit",
    "open_source": "shoebox.data.sources",
    "train": "shoebox.training.train",
}

__all__ = [
    "MODELS",
    "Classifier",
    "Evaluation",
    "ImageIndex",
    "Network",
    "Preprocess",
    "Recipe",
    "Run",
    "ShoeboxClassifier",
    "ShoeboxError",
    "UsageError",
    "fit",
    "open_source",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'shoebox' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
