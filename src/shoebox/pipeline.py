"""Pipeline: everything between stored pixels and logits, as layers of one module.

Resizing, normalising and calibration travel with the weights, so that training, prediction and an exported model cannot
prepare a picture differently.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shoebox.base.runtime import at_once
from shoebox.data.preprocess import Preprocess
from shoebox.models import Network


class Pipeline(nn.Module):
    """From stored pixels to logits: everything between the pack and the answer, as layers.

    In: uint8 (N, 3, store, store), or any side while training. Out: float32 logits (N, classes), divided by the
    temperature that calibrates them.
    """

    scale: Tensor
    shift: Tensor
    temperature: Tensor

    def __init__(self, network: Network, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self.preprocess = preprocess
        self.size = preprocess.size
        std = torch.tensor(preprocess.std) * 255
        self.register_buffer("scale", (1 / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-torch.tensor(preprocess.mean) * 255 / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("temperature", torch.ones(()))

    def place(self, device: str) -> "Pipeline":
        """Move to a device, filters channels-last: convolutions are fastest so, on CPU and GPU alike."""
        self.to(device)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def at_once(self, looks: int = 1) -> int:
        """How many pictures to compute at a time, each in several looks, where no gradients are wanted."""
        return at_once(self.scale.device.type, self.size, looks, self.network.places_at_once)

    def inputs(self, pictures: Tensor, size: int | None = None) -> Tensor:
        """Stored pixels to what the network sees: resized to `size` px with antialiasing, normalised, channels-last."""
        side = size or self.size
        x = pictures.float()
        if pictures.shape[-1] != side or pictures.shape[-2] != side:
            x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return torch.addcmul(self.shift, x, self.scale).contiguous(memory_format=torch.channels_last)

    def features(self, pictures: Tensor) -> Tensor:
        """Stored pixels to the vectors (N, D) that the head sees."""
        return self.seen(self.inputs(pictures))

    def seen(self, inputs: Tensor, network: Network | None = None) -> Tensor:
        """Inputs to the vectors (N, D) that the head sees.

        Where `preprocess` says so, the mean over several looks at each picture: a short training from scratch has not
        yet taught a network that they show the same.

        `network` is one that computes the same features in another way.
        """
        network = network or self.network
        if self.preprocess.looks == 1:
            return network.features(inputs)
        looks = [inputs]
        if self.preprocess.shift:
            step, side = self.preprocess.step, inputs.shape[-1]
            wide = F.pad(inputs, (step,) * 4, "reflect")
            looks += [wide[..., :side, :side], wide[..., 2 * step :, 2 * step :]]
        if self.preprocess.mirror:
            looks += [look.flip(-1) for look in looks]
        # One pass of several times as many, not several: an exported graph then holds each layer once.
        seen = network.features(torch.cat(looks).contiguous(memory_format=torch.channels_last))
        return seen.reshape(len(looks), -1, seen.shape[1]).mean(0)

    def logits(self, features: Tensor) -> Tensor:
        """Vectors (N, D) to calibrated float32 logits (N, classes)."""
        answer: Tensor = self.network.head(features).float() / self.temperature
        return answer

    def forward(self, pictures: Tensor) -> Tensor:
        return self.logits(self.features(pictures))
