"""Networks with weights that somebody trained: timm's, torchvision's, Hugging Face's, or a file's.

In: a source and a name, and perhaps a weights file. Out: a `Pretrained` network: the source's module as it is, with a
fresh linear head on its pooled features, and what pictures it expects (`Preferred`).
"""

import json
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.registry import parse_spec
from shoebox.base.runtime import PLACES_AT_ONCE
from shoebox.models.architectures import (
    Logits,
    classifier_name,
    detach_classifier,
    find_architecture,
    fit_to_size,
    import_timm,
    import_transformers,
    plain_model,
    timm_configuration,
)
from shoebox.models.hub import fetch_weights, torchvision_weights
from shoebox.models.network import MODELS, Network, small_normal_
from shoebox.models.stages import stage_list
from shoebox.models.weights import AUXILIARY, load_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preferred(NamedTuple):
    """The pictures that a network's weights were trained on."""

    size: int
    """Side, px."""
    mean: tuple[float, float, float]
    """Of RGB in 0..1, subtracted."""
    std: tuple[float, float, float]
    """Of RGB in 0..1, divided by."""
    interpolation: str
    """"bicubic", "bilinear" or "lanczos"."""


@final
class Pretrained(Network):
    """Somebody else's network up to its pooled features, and a linear head.

    Args:
        body: pictures (N, 3, size, size) to features (N, D).
        head: a linear layer (N, D) → (N, classes).
        spec: what `build_model` needs to build this network again, without weights; complete in itself.
        origin: where the weights come from, in one line for the reader.
    """

    places_at_once = PLACES_AT_ONCE

    def __init__(self, body: nn.Module, head: nn.Module, spec: str, origin: str) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.spec = spec
        self.origin = origin

    def features(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(x)
        return features

    def stages(self) -> list[tuple[str, nn.Module]]:
        return stage_list(self.body)


def build_model(spec: str, *, classes: int, size: int) -> Network:
    """Build any network with random weights; nothing is downloaded.

    Args:
        spec: "vgg(blocks=3)" from `MODELS`, "timm:NAME", "torchvision:NAME", "hf:FOLDER", "hf_hub:FOLDER", or a plain
            timm name.
        classes: how many logits.
        size: side of the pictures, px.

    Raises:
        UsageError: no such network or option, or it cannot take this size.
    """
    if classes < 1 or size < 1:
        raise UsageError(f"a network needs at least one class and pictures of at least 1 px: {classes=}, {size=}")
    name, options = parse_spec(spec)
    found = None if name in MODELS else find_architecture(name)
    if found is None:
        network: Network = MODELS.build(spec, classes, size)
        return network
    model = plain_model(*found, classes, **options)
    if found[0] == "hf_hub":
        found = ("timm", str(timm_configuration(found[1])["architecture"]))
    return _wrap(model, *found, classes, size, "random weights", keep_head=False, options=options)


def build_pretrained(
    source: str, name: str, classes: int, *, weights: Path | None = None, download: bool = True, size: int | None = None
) -> Network:
    """Build a network with trained weights and a head for `classes`.

    Args:
        source: "timm", "torchvision", "hf" or "hf_hub", as `find_architecture` splits a specification.
        name: the source's own name.
        classes: how many logits.
        weights: a .safetensors file to use in place of the published weights. If its head has as many classes, the
            head is kept; otherwise, and for published weights, it starts fresh.
        download: if False, published weights must be on this disk already.
        size: side of the pictures, px; by default the one the weights were trained with.

    Raises:
        UsageError: unknown name, a file that does not fit, or a size that the architecture cannot take.
        ShoeboxError: the weights are not here and cannot be fetched.
        MissingExtra: "hf" without transformers.
    """
    # Fetched first, since what pictures they expect may be said by a file beside them.
    path = None if weights is not None else fetch_weights(source, name, download)
    side = size or expected_input(source, name).size
    if weights is not None and source == "hf":
        if not (weights.parent / "config.json").is_file():
            raise UsageError(f"{weights}: Hugging Face weights are read beside their config.json, which is not there")
        saved, whole = _from_transformers(weights.parent, classes)
        return _wrap(saved, source, name, classes, side, f"{weights}, matched by name", keep_head=whole)
    if weights is not None:
        if source == "hf_hub":
            source, name = "timm", str(timm_configuration(name)["architecture"])
        model = plain_model(source, name, classes)
        loaded = load_weights(model, weights)
        return _wrap(model, source, name, classes, side, f"{weights}: {loaded}", keep_head=loaded.head)
    assert path is not None
    if source == "hf_hub":
        architecture = str(timm_configuration(name)["architecture"])
        model = plain_model("timm", architecture, classes)
        loaded = load_weights(model, path / "model.safetensors")
        origin = f"{source}:{name}, {path}: {loaded}"
        return _wrap(model, "timm", architecture, classes, side, origin, keep_head=loaded.head)
    model = _published(source, name, classes, path)
    return _wrap(model, source, name, classes, side, f"{source}:{name}, {path}", keep_head=False)


def _published(source: str, name: str, classes: int, path: Path) -> nn.Module:
    """Build a network and fill it with its source's own weights, by the source's own means."""
    if source == "timm":
        # With a file, timm converts older layouts and drops the head itself; no download can start.
        overlay = {"file": str(path), "custom_load": False}
        model: nn.Module = import_timm().create_model(
            name, num_classes=classes, pretrained=True, pretrained_cfg_overlay=overlay
        )
        return model
    if source == "hf":
        return _from_transformers(path, classes)[0]
    model = plain_model(source, name, len(torchvision_weights(name).meta["categories"]))
    # torchvision publishes pickles only: tensors are read, code is not.
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith(AUXILIARY)})
    return model


def _from_transformers(folder: Path, classes: int) -> tuple[Logits, bool]:
    """(The classifier saved in a folder, whether its head has `classes` classes and was kept), by Transformers' means.

    Its own loader, because it renames layers between its versions.

    Raises:
        ShoeboxError: weights are missing or left over, or the folder holds something else.
    """
    transformers = import_transformers()
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        model, report = transformers.AutoModelForImageClassification.from_pretrained(
            str(folder),
            num_labels=classes,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as e:
        raise ShoeboxError(f"{folder} cannot be loaded as an image classifier: {e}") from None
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
    resized = {str(key[0]) for key in report["mismatched_keys"]}
    wrong = sorted(set(report["missing_keys"]) - resized)
    if wrong and not all(name.startswith(classifier_name(model)) for name in wrong):
        raise ShoeboxError(f"{folder}: its weights lack {', '.join(wrong[:6])}")
    return Logits(model), not resized and not wrong


def _wrap(
    model: nn.Module,
    source: str,
    name: str,
    classes: int,
    size: int,
    origin: str,
    *,
    keep_head: bool,
    options: dict[str, Any] | None = None,
) -> Pretrained:
    """Replace the head and adapt the body to the picture size."""
    chosen = dict(options or {})
    if isinstance(model, Logits):
        chosen = {"config": json.loads(model.model.config.to_json_string())}
    listed = ", ".join(f"{key}={value!r}" for key, value in chosen.items())
    spec = f"{source}:{name}({listed})" if listed else f"{source}:{name}"
    own_head = detach_classifier(model)
    width = fit_to_size(model, size, f"{source}:{name}")
    head: nn.Module = nn.Linear(width, classes)
    if keep_head and isinstance(own_head, nn.Linear):
        head = own_head
    elif isinstance(head, nn.Linear):
        small_normal_(head)
    return Pretrained(model, head, spec, origin)


def expected_input(source: str, name: str) -> Preferred:
    """What pictures the published weights of a network were trained on; read on this disk, never fetched.

    ImageNet's mean and standard deviation at 224 px where the source does not say.

    Raises:
        UsageError: no such source or name.
    """
    if find_architecture(f"{source}:{name}") is None:
        raise UsageError(f"{source} has no network called {name!r}: `shoebox models` lists some that it has")
    if source == "timm":
        known = import_timm().models.get_pretrained_cfg(name)
        return _preferred(known.input_size[-1], known.mean, known.std, known.interpolation)
    if source == "torchvision":
        used = torchvision_weights(name).transforms()
        return _preferred(used.crop_size[0], used.mean, used.std, used.interpolation.value)
    if source == "hf_hub":
        own = timm_configuration(name)["pretrained_cfg"]
        side = own.get("input_size", (3, 224, 224))[-1]
        mean, std = own.get("mean", IMAGENET_MEAN), own.get("std", IMAGENET_STD)
        return _preferred(side, mean, std, own.get("interpolation", "bicubic"))
    return _expected_by_transformers(name)


def _expected_by_transformers(name: str) -> Preferred:
    folder = Path(name)
    if not folder.is_dir():
        import huggingface_hub

        cached = huggingface_hub.try_to_load_from_cache(name, "preprocessor_config.json")
        folder = Path(cached).parent if isinstance(cached, str) else folder
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    side = settings.get("crop_size") if settings.get("do_center_crop") else settings.get("size")
    if isinstance(side, dict):
        side = side.get("height") or side.get("shortest_edge")
    # Pillow's numbers for its filters.
    interpolation = {1: "lanczos", 2: "bilinear"}.get(settings.get("resample", 3), "bicubic")
    mean, std = settings.get("image_mean", IMAGENET_MEAN), settings.get("image_std", IMAGENET_STD)
    return _preferred(side or 224, mean, std, interpolation)


def _preferred(size: int, mean: Any, std: Any, interpolation: str) -> Preferred:
    red, green, blue = (float(value) for value in mean)
    deviations = tuple(float(value) for value in std)
    used = interpolation if interpolation in ("bilinear", "lanczos") else "bicubic"
    return Preferred(int(size), (red, green, blue), (deviations[0], deviations[1], deviations[2]), used)
