"""The stages of somebody else's network: its parts from the input upward, found by its own structure.

In: any `nn.Module` whose children are registered in the order a picture passes them (as timm, torchvision and
Transformers all do). Out: an ordered list of (name, module) that holds every parameter exactly once.
"""

from collections.abc import Iterator

from torch import nn

# With fewer parts than this, the largest is opened: "the last two stages" should mean something for every network.
FEWEST = 4
# A plain container with more of the parameters than this is the network's trunk, and its children are the stages.
TRUNK = 0.8


def stage_list(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Divide a network without its head into stages.

    The children of the network are its parts. While there are fewer than four, or one plain container holds more than
    80 % of the parameters, the largest part is replaced by its children: so ResNets give their stem and layer1 to
    layer4, MobileNets and ConvNeXts their blocks, transformers one stage a block. A part without parameters, or a lone
    normalisation, joins the part before it, and the parameters a network holds itself (class token, position
    embedding) join the first. A layer that a network shares between two stages is listed in both.

    Returns:
        (name, module) from the input upward; a stage of several parts is an `nn.ModuleList` of them, sharing their
        parameters.
    """
    parts = list(model.named_children())
    loose = dict(model.named_parameters(recurse=False))
    while (opened := _to_open(parts)) is not None:
        name, module = parts[opened]
        loose |= {f"{name}.{own}": p for own, p in module.named_parameters(recurse=False)}
        parts[opened : opened + 1] = [(f"{name}.{child}", part) for child, part in module.named_children()]
    groups = list(_grouped(parts))
    if loose:
        named = {name.replace(".", "_"): parameter for name, parameter in loose.items()}
        groups[0][1].append(nn.ParameterDict(named))
    return [(name, modules[0] if len(modules) == 1 else nn.ModuleList(modules)) for name, modules in groups]


def _to_open(parts: list[tuple[str, nn.Module]]) -> int | None:
    """The row of the part to replace by its children, or None when the division is fine enough."""
    sizes = [sum(p.numel() for p in part.parameters()) for _, part in parts]
    openable = [i for i, (_, part) in enumerate(parts) if sizes[i] and next(part.children(), None) is not None]
    if not openable:
        return None
    largest = max(openable, key=lambda i: sizes[i])
    is_trunk = isinstance(parts[largest][1], nn.Sequential | nn.ModuleList) and sizes[largest] > TRUNK * sum(sizes)
    few = sum(1 for i, (_, part) in enumerate(parts) if sizes[i] and not _is_normalisation(part)) < FEWEST
    return largest if few or is_trunk else None


def _grouped(parts: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, list[nn.Module]]]:
    """Join parts without parameters, and lone normalisations, to the part before them."""
    name, group = "", list[nn.Module]()
    begun = False
    for part_name, part in parts:
        has_parameters = next(part.parameters(), None) is not None
        if has_parameters and not _is_normalisation(part) and begun:
            yield name, group
            group, begun = [], False
        if has_parameters and not begun:
            name, begun = part_name, True
        group.append(part)
    if group:
        yield name, group


def _is_normalisation(part: nn.Module) -> bool:
    """Whether every parameter of the part belongs to a normalisation, as in the final norm before a pooling."""
    owners = [m for m in part.modules() if next(m.parameters(recurse=False), None) is not None]
    return bool(owners) and all("Norm" in type(owner).__name__ for owner in owners)
