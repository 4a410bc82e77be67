"""The architectures of timm, torchvision and Hugging Face Transformers by name, without weights.

In: a source ("timm", "torchvision", "hf" or "hf_hub") and the source's own name for the network. Out: its plain
`nn.Module` with random weights, and the few facts about it that the rest of this room needs. Nothing here fetches
anything.
"""

import inspect
import json
import warnings
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from shoebox.base.errors import MissingExtra, ShoeboxError, UsageError
from shoebox.base.torchvision import import_torchvision

SOURCES = ("timm", "torchvision", "hf", "hf_hub")
# Networks of torchvision with auxiliary heads, which serve their first training only, and their own normalisation.
AUXILIARY = ("googlenet", "inception_v3")


def find_architecture(name: str) -> tuple[str, str] | None:
    """Split "timm:NAME", "torchvision:NAME", "hf:OWNER/NAME", "hf_hub:OWNER/NAME" or a plain timm name.

    "hf" is a classifier of Transformers, "hf_hub" one of timm that lies in somebody's repository or a folder.

    Returns:
        (source, name), or None when nothing of that name exists.

    Raises:
        UsageError: the source is none of these.
    """
    source, colon, rest = name.partition(":")
    if not colon:
        return ("timm", name) if _is_known("timm", name) else None
    if source not in SOURCES:
        raise UsageError(f"{name!r}: {source!r} is no source of networks: expected {', '.join(SOURCES)}")
    return (source, rest) if _is_known(source, rest) else None


def _is_known(source: str, name: str) -> bool:
    if source == "torchvision":
        return name in torchvision_names()
    if source == "timm":
        return bool(import_timm().is_model(name))
    return bool(name)


def torchvision_names() -> list[str]:
    """The image classifiers that torchvision can build."""
    models = import_torchvision().models
    names: list[str] = models.list_models(module=models)
    return names


def import_timm() -> Any:
    """The module timm, which needs torchvision to have been imported the careful way."""
    import_torchvision()
    import timm

    return timm


def import_transformers() -> Any:
    """The module transformers.

    Raises:
        MissingExtra: it is not installed.
    """
    import_torchvision()
    try:
        import transformers
    except ImportError:
        raise MissingExtra("transformers", "hf") from None
    return transformers


def plain_model(source: str, name: str, classes: int, **options: Any) -> nn.Module:
    """Build an architecture with random weights and `classes` outputs, at the picture size it was designed for.

    Args:
        source: "timm", "torchvision" or "hf".
        name: the source's name; for "hf" a name or folder, with the network's configuration in `options`.
        classes: how many logits.
        options: for timm `drop_rate` and `drop_path_rate`; for "hf" `config`, the contents of its config.json.

    Raises:
        UsageError: no such name or option.
        MissingExtra: "hf" without transformers.
    """
    if not _is_known(source, name):
        raise UsageError(f"{source} has no network called {name!r}: `shoebox models` lists some that it has")
    if source == "hf_hub":
        source, name = "timm", str(timm_configuration(name)["architecture"])
    allowed = {"timm": {"drop_rate", "drop_path_rate"}, "torchvision": set(), "hf": {"config"}}[source]
    if unknown := set(options) - allowed:
        choices = ", ".join(sorted(allowed)) or "none"
        raise UsageError(f"{source}:{name} has no option {sorted(unknown)[0]!r}: its options are {choices}")
    if source == "timm":
        model: nn.Module = import_timm().create_model(name, num_classes=classes, **options)
        return model
    if source == "torchvision":
        return _torchvision(name, classes)
    return _transformers(name, classes, **options)


def timm_configuration(name: str) -> dict[str, Any]:
    """The config.json of "hf_hub:NAME": `architecture`, and in `pretrained_cfg` the pictures it expects.

    Args:
        name: a folder, or a repository of the Hugging Face hub whose files are on this disk.

    Raises:
        ShoeboxError: it is not on this disk, or describes no network of timm.
    """
    import huggingface_hub

    file = Path(name) / "config.json"
    if not file.is_file():
        cached = huggingface_hub.try_to_load_from_cache(name, "config.json") if name.count("/") == 1 else None
        if not isinstance(cached, str):
            raise ShoeboxError(f"hf_hub:{name}: its config.json is not on this disk")
        file = Path(cached)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        known = _is_known("timm", str(found["architecture"]))
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ShoeboxError(f"hf_hub:{name}: {file} describes no network of timm")
    return {**found, "pretrained_cfg": found.get("pretrained_cfg", found)}


def _torchvision(name: str, classes: int) -> nn.Module:
    models = import_torchvision().models
    # transform_input turns the ImageNet normalisation that the caller applies into the one these two know.
    extra = {"aux_logits": False, "init_weights": True, "transform_input": True} if name in AUXILIARY else {}
    model: nn.Module = models.get_model(name, weights=None, num_classes=classes, **extra)
    return model


def _transformers(name: str, classes: int, config: dict[str, Any] | None = None) -> nn.Module:
    transformers = import_transformers()
    if config is None:
        folder = Path(name)
        if not (folder / "config.json").is_file():
            raise UsageError(
                f"hf:{name}: to build it without downloading, name a folder with its config.json, "
                "or give the option config={…}"
            )
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = {k: v for k, v in config.items() if k not in ("id2label", "label2id", "num_labels", "model_type")}
    try:
        made = transformers.AutoConfig.for_model(config["model_type"], **settings, num_labels=classes)
        return Logits(transformers.AutoModelForImageClassification.from_config(made))
    except (KeyError, ValueError) as e:
        raise UsageError(f"hf:{name} is not an image classifier that transformers knows: {e}") from None


@final
class Logits(nn.Module):
    """A Transformers classifier with the calling convention of everybody else: pictures in, logits out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        interpolates = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        # Lets transformers with learned positions take pictures of another size than they were trained with.
        self.options = {"interpolate_pos_encoding": True} if interpolates else {}

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=x, **self.options).logits
        return logits


def classifier_name(model: nn.Module) -> str:
    """The dotted name of the layer that makes the logits: the last linear layer or convolution of the module.

    Raises:
        ShoeboxError: there is none.
    """
    layers: list[str] = [name for name, part in model.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ShoeboxError(f"{type(model).__name__} has no linear layer or convolution to replace by a fresh head")
    return layers[-1]


def detach_classifier(model: nn.Module) -> nn.Module | None:
    """Replace the layer that makes the logits by nothing, in place, so that the module gives pooled features.

    Returns:
        the layer; None for timm's distilled networks, which average two and lose both.
    """
    declared = getattr(model, "pretrained_cfg", {}).get("classifier")
    if isinstance(declared, tuple | list):
        reset: Any = model.get_submodule("").reset_classifier
        reset(0)
        return None
    name = classifier_name(model)
    layer = model.get_submodule(name)
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, nn.Identity())
    return layer


def fit_to_size(model: nn.Module, size: int, label: str) -> int:
    """Make a headless module take pictures of `size` px, in place, and run one through it.

    Learned positions are interpolated (timm's and torchvision's own methods).

    Args:
        model: pictures (N, 3, size, size) to features (N, D).
        size: the side, px.
        label: the network's name for the error.

    Returns:
        D, the number of features.

    Raises:
        UsageError: the architecture cannot take this size.
    """
    native = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
    was_training = model.training
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # interpolating positions warns of its own speed
            _resize(model, size)
            features = model.eval()(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError, TypeError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise UsageError(
            f"{label} does not take pictures of {size} px ({reason}): it was made for {native} px; "
            "choose that, or another multiple of its patch size"
        ) from None
    model.train(was_training)
    if features.ndim != 2:
        raise ShoeboxError(f"{label} gives features of shape {tuple(features.shape)}: expected one vector a picture")
    return int(features.shape[1])


def _resize(model: Any, size: int) -> None:
    """Interpolate the learned positions of a transformer; a network without any is left alone."""
    configuration = getattr(model, "pretrained_cfg", {})
    is_timm = bool(configuration.get("fixed_input_size")) and size != configuration["input_size"][-1]
    is_torchvision = type(model).__name__ == "VisionTransformer" and not configuration and size != model.image_size
    if not is_torchvision and not (is_timm and hasattr(model, "patch_embed")):
        return
    declared: Any = model.patch_size if is_torchvision else getattr(model.patch_embed, "patch_size", 1)
    patch: int = declared[0] if isinstance(declared, tuple) else declared
    if size % patch:
        raise ValueError(f"its patches have {patch} px")
    if is_timm:
        if hasattr(model, "set_input_size"):
            model.set_input_size(img_size=size)
        return
    interpolate = import_torchvision().models.vision_transformer.interpolate_embeddings
    state = {"encoder.pos_embedding": model.encoder.pos_embedding.detach()}
    resized = interpolate(size, model.patch_size, state)
    model.encoder.pos_embedding = nn.Parameter(resized["encoder.pos_embedding"])
    model.image_size = size
