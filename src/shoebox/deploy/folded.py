"""The classifier in torch, rearranged for use: batch norms folded into the convolutions before them, channels-last, and
on request in bfloat16.

In: a Classifier. Out: a `Backend`. Folding changes sums in their last bits and bfloat16 in their third digit, so either
is used only after it has been certified (`shoebox.deploy.certificate`).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.classifier import Classifier
from shoebox.deploy.backends import Scores
from shoebox.models.folding import fold


class FoldedBackend:
    """See the module's docstring; the attributes are `Backend`'s.

    Args:
        classifier: is left as it is.
        name: "torch-folded" or "torch-bf16".
    """

    workers = 1  # torch divides each batch over the processors itself
    batch = 64

    def __init__(self, classifier: Classifier, name: str = "torch-folded") -> None:
        self.name = name
        self.classes = classifier.classes
        self.preprocess = classifier.preprocess
        self._pipeline = classifier.pipeline
        self._device = classifier.device
        self._dtype = torch.bfloat16 if name == "torch-bf16" else torch.float32
        side = classifier.preprocess.store
        noise = np.random.default_rng(0).integers(0, 256, (2, 3, side, side), dtype=np.uint8)
        sample = self._pipeline.inputs(torch.from_numpy(noise).to(self._device))
        self._network = fold(self._pipeline.network, sample).to(self._dtype)
        for parameter in self._network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def scores(self, pictures: NDArray[np.uint8]) -> Scores:
        """See `Backend`."""
        stored = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(self._device)
        features = self._pipeline.seen(self._pipeline.inputs(stored).to(self._dtype), self._network)
        logits = self._network.head(features).float() / self._pipeline.temperature
        return logits.softmax(1).cpu().numpy(), features.float().cpu().numpy()


class ProgramBackend:
    """A file that `torch.export` wrote, to certify it. Only for one made just now: reading it may unpickle."""

    name = "torch-export"
    workers = 1
    batch = 64

    def __init__(self, classifier: Classifier, file: Path) -> None:
        self.classes = classifier.classes
        self.preprocess = classifier.preprocess
        self._module = torch.export.load(file).module()

    @torch.inference_mode()
    def scores(self, pictures: NDArray[np.uint8]) -> Scores:
        """See `Backend`."""
        probabilities, features = self._module(torch.from_numpy(pictures))
        return probabilities.numpy(), features.numpy()
