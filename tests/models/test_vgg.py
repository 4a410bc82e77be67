"""The switches of the ladder network, and the limits of the small networks."""

import pytest
from torch import nn

from shoebox.base.errors import UsageError
from shoebox.models import build_model


def test_switches_add_and_remove_layers() -> None:
    plain = build_model("vgg(batchnorm=False, dropout=0)", classes=10, size=32)
    assert not [m for m in plain.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d | nn.Dropout)]
    full = build_model("vgg", classes=10, size=32)
    assert [round(m.p, 1) for m in full.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.3, 0.4, 0.5]
    assert sum(isinstance(m, nn.Conv2d) for m in full.modules()) == 6
    deep = build_model("vgg(blocks=4, width=8)", classes=10, size=32)
    assert [m.out_channels for m in deep.modules() if isinstance(m, nn.Conv2d)] == [8, 8, 16, 16, 32, 32, 64, 64]


def test_the_dense_layer_does_not_grow_with_the_picture() -> None:
    counts = {sum(p.numel() for p in build_model("vgg", classes=10, size=size).parameters()) for size in (32, 224)}
    assert len(counts) == 1


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ("vgg(blocks=6)", 32, "at least 64 px"),
        ("vgg(blocks=0)", 32, "0 blocks"),
        ("vgg(dropout=0.8)", 32, "below 1"),
        ("simple", 7, "at least 8 px"),
    ],
)
def test_what_cannot_work_is_refused(spec: str, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_model(spec, classes=10, size=size)
