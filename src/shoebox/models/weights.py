"""Weight files: read without running anything, matched to a network strictly, recognised by their tensors.

In: a .safetensors file and a module. Out: the module with the file's weights, and a line on how they were matched; or
an error that names the first tensors that do not fit. Never unpickles, except in `convert_pickle`, which is asked for
explicitly and lets torch read tensors only (`weights_only=True`).
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.models.architectures import classifier_name, find_architecture, plain_model, torchvision_names
from shoebox.models.network import Network

# What training scripts and wrappers put before the names; `body.` is Shoebox's own, for pretrained networks.
PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "state_dict.", "body.")
# The heads of torchvision's googlenet and inception_v3 that help their first training and nothing else.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".tar")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Loaded:
    """How a file met a network."""

    tensors: int
    """How many tensors of the network were filled."""
    how: str
    """"by name", "by name without prefix" or "by order and shape (as NAME)"."""
    dropped: tuple[str, ...]
    """The file's tensors left out: a head of another number of classes, auxiliary heads."""
    head: bool
    """Whether the head was filled too."""

    def __str__(self) -> str:
        left = f"; left out: {', '.join(self.dropped)}" if self.dropped else ""
        return f"{self.tensors} tensors matched {self.how}{left}"


@dataclass(frozen=True)
class _Plan:
    """Which tensor of the file goes where: network name → file name; and what does not fit."""

    pairs: dict[str, str]
    dropped: tuple[str, ...]
    problems: tuple[str, ...]
    how: str


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its metadata.

    Raises:
        UsageError: it is not a .safetensors file, or does not exist.
        ShoeboxError: it is damaged or hostile (overlapping tensors, a header that cannot be, …).
    """
    from safetensors import SafetensorError, safe_open

    _refuse_pickles(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as e:
        raise ShoeboxError(f"{path} cannot be read as a safetensors file: {e}") from None


def _refuse_pickles(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path}: no such weights file")
    if path.suffix.lower() in PICKLED:
        raise UsageError(
            f"{path} is a pickle, which can run code when it is read: turn it into a .safetensors file once, with "
            f"`shoebox import-weights {path}`"
        )
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"{path}: weights are read from .safetensors files only")


def convert_pickle(path: Path | str, out: Path | str) -> Path:
    """Turn a .pth/.pt/.bin state dict into safetensors, once; only tensors are read, never code.

    Args:
        path: a file that holds a state dict, or a dict with one under "state_dict" or "model".
        out: the .safetensors file to write.

    Raises:
        UsageError: there is no such file, or `out` is there already.
        ShoeboxError: the file holds anything but tensors and plain containers.
    """
    from safetensors.torch import save

    if not Path(path).is_file():
        raise UsageError(f"{path}: no such weights file")
    if Path(out).exists():
        raise UsageError(f"{out} is there already: name another file with --out")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # noqa: BLE001 (torch raises its unpickler's, zipfile's and its own errors alike)
        raise ShoeboxError(f"{path} holds more than weights, or is damaged; it was not read: {e}") from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {str(k): v.contiguous().clone() for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ShoeboxError(f"{path} holds no tensors")
    with atomic_write(Path(out)) as file:
        file.write(save(tensors))
    return Path(out)


def load_weights(module: nn.Module, path: Path) -> Loaded:
    """Fill a network, or a plain module of timm, torchvision or Transformers, from a safetensors file.

    Names are matched exactly; else without common prefixes (`PREFIXES`); else, where the file's own architecture is
    recognised, by the order of the layers, if names' last parts and shapes agree all along. Every tensor must then
    have its partner, but for the head: one of another number of classes is left out.

    Args:
        module: changed in place, only when everything fits; half-precision weights become the module's precision.
        path: the .safetensors file.

    Raises:
        UsageError: the file does not fit; the message names the first tensors that are missing, unknown or mis-shaped.
        ShoeboxError: the file is damaged.
    """
    tensors, _ = read_weights(path)
    target = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    source = {name: tuple(value.shape) for name, value in tensors.items()}
    head = "head." if isinstance(module, Network) else f"{classifier_name(module)}."
    plans = [_plan(target, source, head, "by name"), _plan_bare(target, source, head)]
    best = min(plans, key=lambda plan: len(plan.problems))
    if best.problems and 2 * len(best.pairs) < len(target):  # else it is the same naming, and another network
        best = _plan_by_order(target, source, head, path) or best
    if best.problems:
        raise UsageError(
            f"{path} does not fit {type(module).__name__} ({len(best.pairs)} of {len(target)} tensors do): "
            + "; ".join(best.problems[:6])
            + ("; …" if len(best.problems) > 6 else "")
        )
    module.load_state_dict({name: tensors[own] for name, own in best.pairs.items()}, strict=False)
    return Loaded(len(best.pairs), best.how, best.dropped, any(name.startswith(head) for name in best.pairs))


def _plan(target: Shapes, source: Shapes, head: str, how: str) -> _Plan:
    """Match equal names; only the head may differ."""
    pairs = {name: name for name in target if name in source}
    wrong = [name for name in pairs if target[name] != source[name]]
    ours = [name for name in target if name.startswith(head)]
    extra = [name for name in source if name not in target]
    dropped = [name for name in extra if name.startswith(AUXILIARY)]
    if any(name not in pairs or name in wrong for name in ours):
        # The whole head goes or none: a bias without its weight would be noise.
        theirs = [name for name in extra if name not in dropped]
        named = sorted(name for name in ours if name in pairs)
        one_layer = len({name.rpartition(".")[0] for name in theirs}) == 1 and len(theirs) <= 2
        if not named and one_layer:
            dropped += theirs
            by_last = {name.rpartition(".")[2]: name for name in theirs}
            partners = {name: by_last.get(name.rpartition(".")[2], "") for name in ours}
            if all(own and source[own] == target[name] for name, own in partners.items()):
                pairs |= partners
                dropped = [name for name in dropped if name not in partners.values()]
        else:
            dropped += named
            pairs = {name: own for name, own in pairs.items() if name not in ours}
            wrong = [name for name in wrong if name not in ours]
    missing = [n for n in target if n not in pairs and n not in ours and not n.endswith(".num_batches_tracked")]
    problems = [f"{name} is {source[name]}, expected {target[name]}" for name in wrong]
    problems += [f"{name} is missing" for name in missing]
    problems += [
        f"{name} is not of this network" for name in extra if name not in dropped and name not in pairs.values()
    ]
    return _Plan(pairs, tuple(dropped), tuple(problems), how)


def _plan_bare(target: Shapes, source: Shapes, head: str) -> _Plan:
    """Match names without their prefixes; stripping must leave them distinct."""
    ours, theirs = {_bare(name): name for name in target}, {_bare(name): name for name in source}
    if len(ours) < len(target) or len(theirs) < len(source):
        return _Plan({}, (), ("names repeat without their prefixes",) * (len(target) + len(source)), "")
    plan = _plan(
        {bare: target[name] for bare, name in ours.items()},
        {bare: source[name] for bare, name in theirs.items()},
        _bare(head),
        "by name without prefix",
    )
    pairs = {ours[name]: theirs[own] for name, own in plan.pairs.items()}
    return _Plan(pairs, tuple(theirs[name] for name in plan.dropped), plan.problems, plan.how)


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        if name.startswith(prefix) and len(name) > len(prefix):
            return _bare(name[len(prefix) :])
    return name


def _plan_by_order(target: Shapes, source: Shapes, head: str, path: Path) -> _Plan | None:
    """Match layer by layer, if the file's architecture is known: safetensors files do not keep the layers' order."""
    try:
        spec, order, their_head = _recognise(path, source)
    except UsageError:
        return None
    ours = [n for n in target if not n.startswith(head) and not n.endswith(".num_batches_tracked")]
    theirs = [n for n in order if not n.startswith(their_head) and not n.endswith(".num_batches_tracked")]
    by_bare = {_bare(name): name for name in source}
    same = [(a.rpartition(".")[2], target[a]) for a in ours] == [
        (b.rpartition(".")[2], source[by_bare[b]]) for b in theirs
    ]
    if not same:
        return None
    pairs = {a: by_bare[b] for a, b in zip(ours, theirs, strict=True)}
    heads = {b.rpartition(".")[2]: by_bare[b] for b in order if b.startswith(their_head)}
    partners = {a: heads.get(a.rpartition(".")[2], "") for a in target if a.startswith(head)}
    if all(own and source[own] == target[name] for name, own in partners.items()):
        return _Plan(pairs | partners, (), (), f"by order and shape (as {spec})")
    return _Plan(pairs, tuple(heads.values()), (), f"by order and shape (as {spec})")


def guess_architecture(path: Path) -> str:
    """Recognise the network a weights file belongs to: by its metadata and name, then by torchvision's networks.

    A guess counts only when every tensor's name and shape agree, the head's number of classes aside.

    Returns:
        a specification such as "torchvision:mobilenet_v2".

    Raises:
        UsageError: no known network has these tensors.
        ShoeboxError: the file is damaged.
    """
    tensors, _ = read_weights(path)
    return _recognise(path, {name: tuple(value.shape) for name, value in tensors.items()})[0]


def _recognise(path: Path, shapes: Shapes) -> tuple[str, list[str], str]:
    """(specification, tensor names in the network's order, the head's prefix)."""
    bare = {_bare(name): shape for name, shape in shapes.items() if not name.startswith(AUXILIARY)}
    for spec in _candidates(path):
        found = find_architecture(spec)
        if found is None or found[0] == "hf":
            continue
        try:
            with torch.device("meta"):
                model = plain_model(*found, 1000)
        except (NotImplementedError, RuntimeError):
            continue  # a few architectures compute with tensors while they are built, which "meta" cannot
        head = f"{classifier_name(model)}."
        state = model.state_dict()
        if state.keys() == bare.keys() and all(
            tuple(value.shape) == bare[name] or name.startswith(head) for name, value in state.items()
        ):
            return spec, list(state), head
    raise UsageError(
        f"{path}: no known network has exactly these {len(shapes)} tensors: name it with --model, "
        "for example --model timm:resnet18"
    )


def _candidates(path: Path) -> Iterator[str]:
    """Names worth trying, the likeliest first."""
    _, metadata = read_weights(path)
    said = [metadata[key] for key in ("architecture", "arch", "model") if key in metadata]
    said += [path.stem, path.stem.rpartition("-")[0]]
    known = torchvision_names()
    tried = set()
    for hint in said:
        source, _, name = hint.replace("/", ".").replace(":", ".").partition(".")
        guesses = [f"{source}:{name}"] if source in ("torchvision", "timm") else [f"torchvision:{hint}", f"timm:{hint}"]
        for guess in guesses:
            if guess not in tried and hint:
                tried.add(guess)
                yield guess
    for name in sorted(known, key=lambda n: -difflib.SequenceMatcher(None, n, path.stem).ratio()):
        if f"torchvision:{name}" not in tried:
            yield f"torchvision:{name}"
