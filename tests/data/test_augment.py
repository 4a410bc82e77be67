"""Every augmentation of the registry keeps its contract, and the ones with a simple right answer give it."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from shoebox.base.errors import UsageError
from shoebox.data.augment import AUGMENTS, Draw, compose
from shoebox.data.mixing import beta
from shoebox.data.policy import OPERATIONS, STANDARD, Slot, apply

UNCHANGED = [f"{name}(p=0)" for name in AUGMENTS if "p" in AUGMENTS.options(name)] + [
    "translate(pixels=0)",
    "randaugment(count=0)",
    "randaugment(magnitude=0)",
]


def batch(count: int = 12, side: int = 16) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), np.uint8)).permute(0, 3, 1, 2)


def one_hot(count: int = 12, classes: int = 4) -> Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


def draw(count: int = 12, seed: int = 0, epoch: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), epoch, torch.arange(count))


def run(spec: str, pictures: Tensor, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
    return compose([spec])(pictures, one_hot(len(pictures)), draw(len(pictures), seed, epoch))


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("count", [12, 1])
def test_contract(name: str, count: int) -> None:
    pictures = batch(count)
    before = pictures.clone()
    out, targets = run(name, pictures)
    assert out.shape == pictures.shape
    assert out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert targets.shape == (count, 4)
    assert targets.dtype == torch.float32
    assert torch.allclose(targets.sum(1), torch.ones(count))
    assert torch.equal(pictures, before), "the caller's pictures were written to"
    again, same = run(name, pictures)
    assert torch.equal(out, again)
    assert torch.equal(targets, same)


@pytest.mark.parametrize("name", sorted(set(AUGMENTS) - {"flip_alternating"}))
def test_changes_pictures_and_follows_the_generator(name: str) -> None:
    option = "p=1" if "p" in AUGMENTS.options(name) else ""
    spec = f"{name}({option})"
    outs = [run(spec, batch(), seed)[0] for seed in range(4)]
    assert any(not torch.equal(out, batch()) for out in outs)
    if name not in ("flip", "flip_vertical", "grayscale"):
        assert not torch.equal(outs[0], outs[1])


@pytest.mark.parametrize("spec", UNCHANGED)
@pytest.mark.parametrize("side", [1, 7, 32])
def test_never_drawn_means_unchanged(spec: str, side: int) -> None:
    out, targets = run(spec, batch(side=side))
    assert torch.equal(out, batch(side=side))
    assert torch.equal(targets, one_hot())


@pytest.mark.parametrize("name", [name for name in AUGMENTS if "p" in AUGMENTS.options(name)])
def test_options_out_of_range_are_refused(name: str) -> None:
    for value in ("1.5", "-0.1", "True", "'often'", "None"):
        with pytest.raises(UsageError, match="p="):
            compose([f"{name}(p={value})"])


@pytest.mark.parametrize(
    "spec",
    [
        "no_such",
        "flip(q=1)",
        "rotate(degrees=200)",
        "shift(fraction=2)",
        "zoom(low=2, high=1)",
        "zoom(low=0)",
        "random_resized_crop(scale_low=0)",
        "random_resized_crop(ratio=2)",
        "translate(pixels=-1)",
        "translate(pixels=1.5)",
        "brightness(amount=2)",
        "hue(amount=0.6)",
        "blur(sigma=0)",
        "cutout(size=2)",
        "erasing(area_low=0.5, area_high=0.1)",
        "randaugment(count=2.0)",
        "randaugment(magnitude=11)",
        "mixup(alpha=0)",
        "cutmix(alpha=-1)",
    ],
)
def test_bad_specs_are_refused_when_built(spec: str) -> None:
    with pytest.raises(UsageError):
        compose([spec])


@pytest.mark.parametrize("name", AUGMENTS)
def test_nothing_is_read_back_from_the_device(name: str) -> None:
    """Tensors without contents stand in for those on a device: reading one, or a shape that depends on one, raises."""
    run(name, batch())  # what is computed once, on the host, is now there
    with FakeTensorMode(allow_non_fake_inputs=True):
        out, targets = run(name, torch.empty(12, 16, 16, 3, dtype=torch.uint8).permute(0, 3, 1, 2))
    assert out.shape == (12, 3, 16, 16)
    assert targets.shape == (12, 4)
    run(name, batch())


def test_nothing_listed_is_identity() -> None:
    pictures, targets = batch(), one_hot()
    out, same = compose([])(pictures, targets, draw())
    assert out is pictures
    assert same is targets


def test_flips_are_exact() -> None:
    pictures = batch()
    assert torch.equal(run("flip(p=1)", pictures)[0], pictures.flip(3))
    assert torch.equal(run("flip_vertical(p=1)", pictures)[0], pictures.flip(2))
    half = run("flip(p=0.5)", batch(400))[0]
    flipped = (half != batch(400)).flatten(1).any(1)
    assert 140 < flipped.sum() < 260
    assert torch.equal(half[flipped], batch(400)[flipped].flip(3))


def test_alternating_flip_shows_both_sides_in_two_epochs() -> None:
    pictures = batch(400)
    first = run("flip_alternating", pictures, epoch=0)[0]
    second = run("flip_alternating", pictures, seed=9, epoch=1)[0]
    third = run("flip_alternating", pictures, seed=5, epoch=2)[0]
    flipped = (first != pictures).flatten(1).any(1)
    assert 150 < flipped.sum() < 250
    assert torch.equal(second, first.flip(3))
    assert torch.equal(third, first)
    # it depends on the row, not on the place in the batch
    backwards = Draw(torch.Generator(), 0, torch.arange(400).flip(0))
    out, _ = compose(["flip_alternating"])(pictures.flip(0), one_hot(400), backwards)
    assert torch.equal(out.flip(0), first)


@pytest.mark.parametrize(("side", "reach"), [(16, 2), (16, 15), (5, 4), (9, 1)])
def test_translate_is_the_window_of_a_mirrored_picture(side: int, reach: int) -> None:
    pictures = batch(200, side)
    out = run(f"translate(pixels={reach})", pictures)[0].permute(0, 2, 3, 1).numpy()
    corners = draw(200).below(2 * reach + 1, 2).numpy()
    assert corners.min() == 0
    assert corners.max() == 2 * reach
    for picture, result, (y, x) in zip(pictures.permute(0, 2, 3, 1).numpy(), out, corners, strict=True):
        padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        assert np.array_equal(result, padded[y : y + side, x : x + side])


@pytest.mark.parametrize("side,reach", [(16, 2), (16, 15), (9, 0), (1, 0), (140, 17)])
def test_a_window_of_a_mirrored_picture_is_cut_in_one_step(side: int, reach: int) -> None:
    pictures, specs = batch(40, side), ["flip", f"translate(pixels={reach})"]
    together, _ = compose(specs)(pictures, one_hot(40), draw(40))
    drawn, after = draw(40), pictures
    for spec in specs:
        after, _ = compose([spec])(after, one_hot(40), drawn)
    assert torch.equal(together, after)


def test_translate_says_when_the_picture_is_too_small() -> None:
    with pytest.raises(UsageError, match="only 4 px"):
        run("translate(pixels=4)", batch(side=4))


def test_half_a_turn_is_both_flips() -> None:
    """rotate draws the angle: two quarter turns of known angle stand in for it."""
    from shoebox.data.draw import planes, rounded
    from shoebox.data.geometry import rotation, warp

    pictures = batch()
    turned = rounded(warp(planes(pictures), rotation(torch.full((12,), torch.pi))))
    assert torch.equal(turned, pictures.flip(2, 3))
    quarter = rounded(warp(planes(pictures), rotation(torch.full((12,), torch.pi / 2))))
    assert torch.equal(quarter, pictures.rot90(1, (2, 3)))


def test_zoom_magnifies_about_the_middle() -> None:
    square = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    square[:, :, 12:20, 12:20] = 255
    out = run("zoom(low=2, high=2, p=1)", square)[0]
    assert out[0, 0, 9:23, 9:23].eq(255).all()
    assert out[0, 0, :7].eq(0).all()
    assert abs(float(out.float().mean() / square.float().mean()) - 4) < 0.1


def test_crop_stays_inside_the_picture() -> None:
    """A ramp from left to right: whatever rectangle is shown, the result runs upward over at most the whole ramp."""
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(300, 3, 64, 64)
    out = run("random_resized_crop(scale_low=0.1)", ramp)[0].float()
    assert (out.diff(dim=3) >= 0).all()
    span = out[:, 0, 0, -1] - out[:, 0, 0, 0]
    assert 0.2 * 255 < span.min() < 0.5 * 255
    assert span.max() > 0.9 * 255


def test_neighbours_merge_into_one_pass_and_mean_the_same() -> None:
    """On smooth pictures, one resampling through the product differs from several only by their interpolation."""
    from shoebox.data.draw import Chain

    ramp = torch.arange(64.0)
    smooth = (ramp[:, None] + 2 * ramp[None, :] + 30).to(torch.uint8).expand(12, 3, 64, 64)
    specs = ["rotate(degrees=10, p=1)", "zoom(low=1.3, high=1.6, p=1)", "shift(fraction=0.05, p=1)"]
    steps = [AUGMENTS.build(spec) for spec in specs]
    assert all(isinstance(step, Chain) for step in steps)
    one_by_one, shared = smooth, draw()
    for step in steps:
        one_by_one, _ = step(one_by_one, one_hot(), shared)
    merged, _ = compose(specs)(smooth, one_hot(), draw())
    middle = (merged.float() - one_by_one.float())[:, :, 16:48, 16:48]
    assert middle.abs().max() <= 2


def test_merged_colours_equal_separate_ones() -> None:
    pale = batch() // 4 + 96
    specs = ["brightness(amount=0.2, p=1)", "contrast(amount=0.3, p=1)", "hue(p=1)", "saturation(amount=0.3, p=1)"]
    separate, shared = pale, draw()
    for spec in specs:
        separate, _ = AUGMENTS.build(spec)(separate, one_hot(), shared)
    merged, _ = compose(specs)(pale, one_hot(), draw())
    assert (merged.int() - separate.int()).abs().max() <= 2


def test_colours_against_their_definitions() -> None:
    pictures = batch()
    factors = (1 + draw().uniform(-0.5, 0.5) * draw().chance(1))[:, None, None, None]
    grey = (pictures.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    expected = {
        "brightness": pictures * factors,
        "contrast": grey.mean((2, 3), keepdim=True) * (1 - factors) + pictures * factors,
        "saturation": grey * (1 - factors) + pictures * factors,
    }
    for name, value in expected.items():
        out = run(f"{name}(amount=0.5, p=1)", pictures)[0].float()
        assert (out - value.clamp(0, 255)).abs().max() <= 0.51, name
    gray = run("grayscale(p=1)", pictures)[0]
    assert torch.equal(gray[:, 0], gray[:, 1])
    assert (gray[:, :1] - grey).abs().max() <= 0.51


def test_hue_keeps_luma_and_turns_towards_the_opposite() -> None:
    from shoebox.data.colour import recolour, turn

    red = torch.tensor([160.0, 90.0, 90.0]).view(1, 3, 1, 1)
    opposite = recolour(red, turn(torch.tensor([torch.pi])))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert abs(float((opposite * luma).sum() - (red * luma).sum())) < 0.2
    assert opposite[0, 0] < opposite[0, 1]
    grey = torch.full((1, 3, 1, 1), 77.0)
    assert torch.allclose(recolour(grey, turn(torch.tensor([1.0]))), grey, atol=0.1)


def test_blur_is_a_gaussian() -> None:
    point = torch.zeros(1, 3, 21, 21, dtype=torch.uint8)
    point[:, :, 10, 10] = 255
    out = run("blur(sigma=2, p=1)", point)[0].float()[0, 0]
    draws = draw(1)
    draws.chance(1)
    sigma = float(draws.uniform(0.1, 2))
    line = torch.exp(-0.5 * ((torch.arange(21) - 10) / sigma) ** 2)
    line = line / line.sum()
    assert (out - 255 * line[:, None] * line).abs().max() <= 1


def test_cutout_covers_a_square_with_grey() -> None:
    white = torch.full((300, 3, 20, 20), 255, dtype=torch.uint8)
    covered = run("cutout(size=0.5)", white)[0].ne(255)
    assert run("cutout(size=0.5)", white)[0].unique().tolist() == [128, 255]
    area = covered[:, 0].sum((1, 2))
    assert area.max() == 100
    assert area.min() >= 20
    rows, columns = covered[:, 0].any(2), covered[:, 0].any(1)
    assert torch.equal(area, rows.sum(1) * columns.sum(1)), "not rectangles"


def test_cutmix_weight_is_the_pasted_area() -> None:
    """Picture n holds only the value n, so what was pasted can be counted."""
    count = 50
    pictures = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 16, 16)
    out, targets = compose(["cutmix(alpha=1, p=1)"])(pictures, torch.eye(count), draw(count))
    own = torch.arange(count)
    for label in (own, (own - 1) % count):
        share = (out[:, 0] == label[:, None, None]).float().mean((1, 2))
        assert torch.allclose(targets[own, label], share, atol=1e-6)
    assert targets.count_nonzero(1).max() == 2


def test_mixup_blends_pictures_as_it_blends_targets() -> None:
    count = 50
    pictures = (torch.arange(count, dtype=torch.uint8) * 5)[:, None, None, None].expand(count, 3, 4, 4)
    out, targets = compose(["mixup(alpha=1, p=1)"])(pictures, torch.eye(count), draw(count))
    expected = targets @ (torch.arange(count) * 5.0)
    assert (out[:, 0, 0, 0] - expected).abs().max() <= 0.51


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_beta_has_the_moments_of_beta(alpha: float) -> None:
    values = beta(alpha, draw(40_000))
    assert abs(float(values.mean()) - 0.5) < 0.01
    assert abs(float(values.var()) - 1 / (4 * (2 * alpha + 1))) < 0.003


def slot(operation: str, strength: float) -> Slot:
    return Slot(torch.full((12,), OPERATIONS.index(operation)), torch.full((12,), strength))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_of_the_policies_does_something(operation: str) -> None:
    pictures = batch() // 2 + 40
    out = apply(pictures, [slot(operation, 0.5)], STANDARD)
    assert torch.equal(out, pictures) == (operation == "identity")
    assert torch.equal(apply(pictures, [slot("identity", 1), slot(operation, 0.5)], STANDARD), out)


def test_operations_of_the_policies_against_their_definitions() -> None:
    pictures = batch()
    assert torch.equal(apply(pictures, [slot("posterize", -0.5)], STANDARD), pictures & 0b11111100)
    half = torch.where(pictures >= 128, 255 - pictures, pictures)
    assert torch.equal(apply(pictures, [slot("solarize", 0.5)], STANDARD), half)
    pale = pictures // 4 + 100
    out = apply(pale, [slot("autocontrast", 0.5)], STANDARD)
    assert out.amin((2, 3)).eq(0).all()
    assert out.amax((2, 3)).eq(255).all()
    flat = torch.full_like(pictures, 9)
    assert torch.equal(apply(flat, [slot("autocontrast", 0.5)], STANDARD), flat)


def test_policies_draw_all_operations() -> None:
    changed = [run(spec, batch(600))[0].ne(batch(600)).flatten(1).any(1) for spec in ("trivialaugment", "randaugment")]
    # identity is a twelfth, and autocontrast leaves these pictures, which span 0..255 already, nearly always alone
    assert 0.75 < changed[0].float().mean() < 0.95
    assert changed[1].float().mean() > 0.93
