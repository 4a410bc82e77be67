"""Networks, from normalised float pictures to logits: from scratch (`MODELS`) and pretrained.

Importing this package registers every network of its own; timm and torchvision are imported when one is built.
"""

from shoebox.models import alexnet, resnet, simple, speednet, vgg
from shoebox.models.architectures import find_architecture
from shoebox.models.backbones import PRETRAINED, Backbone, fetch_backbone, usual_backbone
from shoebox.models.hub import on_disk
from shoebox.models.network import MODELS, Network, freeze, set_training
from shoebox.models.pretrained import Preferred, Pretrained, build_model, build_pretrained, expected_input
from shoebox.models.summary import LayerRow, describe_models
from shoebox.models.weights import guess_architecture, load_weights

__all__ = [
    "MODELS",
    "PRETRAINED",
    "Backbone",
    "LayerRow",
    "Network",
    "Preferred",
    "Pretrained",
    "alexnet",
    "build_model",
    "build_pretrained",
    "describe_models",
    "expected_input",
    "fetch_backbone",
    "find_architecture",
    "freeze",
    "guess_architecture",
    "load_weights",
    "on_disk",
    "resnet",
    "set_training",
    "simple",
    "speednet",
    "usual_backbone",
    "vgg",
]
