"""The compiled convolutions compute what torch does, forward and backward, in vectors of each width."""

import contextlib
import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from shoebox.base import arithmetic, winograd
from shoebox.base.winograd import Conv3x3, PooledConv3x3, convolve, half_products

pytestmark = pytest.mark.skipif(arithmetic.library() is None, reason="no compiled arithmetic here")


def in_halves(x, weight, bias, pooled):
    with half_products():
        return convolve(x, weight, bias, pooled=pooled)


@pytest.fixture(params=[32, 8], ids=["widest", "8 lanes"])
def lanes(request):
    arithmetic.library().arithmetic_limit(request.param)
    yield
    arithmetic.library().arithmetic_limit(32)


TYPES = {"fp16": 32, "bf16": 16}


@contextlib.contextmanager
def multiplying(wanted):
    """Within the block numbers of 16 bits are multiplied in this type, if the processor can."""
    arithmetic.library().arithmetic_limit(TYPES[wanted])
    try:
        if arithmetic.half_type() != wanted:
            pytest.skip("this processor multiplies no such numbers")
        yield wanted
    finally:
        arithmetic.library().arithmetic_limit(32)


@pytest.fixture(params=TYPES)
def half_type(request):
    """What numbers of 16 bits are multiplied in."""
    with multiplying(request.param) as wanted:
        yield wanted


@pytest.fixture(params=[*TYPES, "fp32"])
def compute(request):
    """`convolve` with each type of products."""
    if request.param == "fp32":
        yield convolve
    else:
        with multiplying(request.param):
            yield in_halves


def by_definition(x, weight, bias, pooled):
    y = F.conv2d(x, weight, bias, padding=1)
    return F.max_pool2d(y, 2) if pooled else y


def passes(compute, x, weight, bias, pooled, dtype):
    """The output, and the gradients of what went in, all in double."""
    leaves = [None if t is None else t.to(dtype).clone().requires_grad_() for t in (x, weight, bias)]
    y = compute(*leaves, pooled=pooled)
    draw = torch.Generator().manual_seed(1)
    y.backward(torch.randn(y.shape, dtype=torch.float64, generator=draw).to(dtype))
    return [y.detach().double(), *(t.grad.double() for t in leaves if t is not None)]


def errors(x, weight, bias, pooled, compute=convolve):
    """The norm of what differs from the definition in double, as a share: of the output, and of each gradient."""
    wanted = passes(by_definition, x, weight, bias, pooled, torch.float64)
    got = passes(compute, x, weight, bias, pooled, torch.float32)
    assert [mine.shape for mine in got] == [theirs.shape for theirs in wanted]
    return [float((mine - theirs).norm() / theirs.norm()) for mine, theirs in zip(got, wanted, strict=True)]


def assert_alike(x, weight, bias, pooled):
    assert winograd.pays(x.float(), weight.float())
    output, *gradients = errors(x, weight, bias, pooled)
    # Of two places that are equal but for rounding, one or the other has the gradient: few do, of thousands.
    assert output < 3e-5 and max(gradients) < (2e-2 if pooled else 3e-5)


@pytest.mark.parametrize("pooled", [False, True], ids=["whole", "pooled"])
@pytest.mark.parametrize(
    ("count", "before", "after", "height", "width"),
    [
        *[(8, 24, 48, 31, 31), (57, 48, 48, 15, 16), (512, 16, 17, 2, 3), (80, 33, 100, 8, 9)],
        # in float32 in squares of 6x6
        *[(20, 24, 48, 24, 24), (70, 33, 100, 6, 6), (60, 48, 40, 12, 17), (100, 20, 40, 13, 10), (300, 20, 35, 5, 5)],
    ],
)
def test_it_computes_what_torch_does(lanes, count, before, after, height, width, pooled):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, before, height, width, dtype=torch.float64, generator=draw)
    weight = torch.randn(after, before, 3, 3, dtype=torch.float64, generator=draw) / before
    bias = torch.randn(after, dtype=torch.float64, generator=draw)
    assert_alike(x, weight, None, pooled)
    assert_alike(x.contiguous(memory_format=torch.channels_last), weight, bias, pooled)


@settings(max_examples=30, deadline=None)
@given(st.integers(16, 50), st.integers(16, 110), st.integers(2, 18), st.integers(2, 18), st.booleans(), st.booleans())
def test_whatever_the_shape(before, after, height, width, pooled, biased):
    draw = torch.Generator().manual_seed(before * after + height)
    tiles = -(-height // 4) * -(-width // 4)
    x = torch.randn(-(-512 // tiles), before, height, width, dtype=torch.float64, generator=draw)
    weight = torch.randn(after, before, 3, 3, dtype=torch.float64, generator=draw) / before
    bias = torch.randn(after, dtype=torch.float64, generator=draw) if biased else None
    assert_alike(x, weight, bias, pooled)


def test_the_threads_do_not_change_the_output_nor_one_run_the_next(compute):
    apart = 1e-5 if compute is convolve else 0.02
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(64, 40, 15, 15, generator=draw), torch.randn(50, 40, 3, 3, generator=draw)
    threads = torch.get_num_threads()
    try:
        runs = []
        for count in (1, 2, 3, 3):
            torch.set_num_threads(count)
            runs.append(passes(compute, x, weight, None, True, torch.float32))
    finally:
        torch.set_num_threads(threads)
    for output, to_x, to_weight in runs[1:]:
        assert torch.equal(output, runs[0][0]) and torch.equal(to_x, runs[0][1])
        difference = to_weight - runs[0][2]
        assert difference.norm() < apart * to_weight.norm()
        assert difference.abs().max() < 1.5 * apart * to_weight.abs().max()
    assert torch.equal(runs[2][2], runs[3][2])


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_filters_in_either_layout_have_the_same_gradients_and_those_of_channels_last_are_not_copied(layout):
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(128, 24, 8, 8, generator=draw), torch.randn(40, 24, 3, 3, generator=draw)
    wanted = passes(convolve, x, weight, None, True, torch.float32)
    leaf = weight.contiguous(memory_format=layout).requires_grad_()
    draw.manual_seed(1)
    y = convolve(x, leaf, pooled=True)
    y.backward(torch.randn(y.shape, dtype=torch.float64, generator=draw).float())
    assert torch.equal(y.detach().double(), wanted[0]) and torch.equal(leaf.grad.double(), wanted[2])
    assert leaf.grad.is_contiguous(memory_format=layout)
    own = winograd._filters(x.contiguous(memory_format=torch.channels_last), torch.ones(128, 40, 8, 8), None)
    assert own.is_contiguous(memory_format=torch.channels_last)


def test_nothing_beside_the_output_is_written():
    x, weight = torch.randn(64, 24, 7, 7), torch.randn(20, 24, 3, 3)
    kept = x.clone(), weight.clone()
    convolve(x, weight, pooled=True)
    assert torch.equal(x, kept[0]) and torch.equal(weight, kept[1])


def test_what_is_not_a_number_stays_so():
    x, weight = torch.randn(64, 24, 8, 8), torch.randn(24, 24, 3, 3)
    x[3, 5, 4, 4] = float("nan")
    for pooled in (False, True):
        bad = convolve(x, weight, pooled=pooled).isnan().any((1, 2, 3))
        assert bad[3] and bad.sum() == 1


@pytest.mark.parametrize("layer", [Conv3x3(24, 24), PooledConv3x3(24, 24, bias=False)])
def test_as_a_layer_it_is_copied_traced_and_leaves_small_and_other_types_to_torch(layer):
    twin = copy.deepcopy(layer)
    few, many = torch.randn(2, 24, 8, 8), torch.randn(128, 24, 8, 8)
    assert isinstance(twin, nn.Conv2d)
    assert winograd.pays(many, twin.weight) and not winograd.pays(few, twin.weight)
    assert not winograd.pays(many.double(), twin.weight.double())
    assert not winograd.pays(many.to("meta"), twin.weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(many, twin.weight)
    exported = torch.export.export(layer, (many,)).module()
    torch.testing.assert_close(exported(many), layer(many), rtol=1e-4, atol=1e-4)
    assert layer(few).shape[1:] == layer(many).shape[1:]


@pytest.mark.parametrize("weight", [(24, 40, 3, 3), (24, 24, 5, 5), (24, 24, 3)])
def test_shapes_that_do_not_fit_are_for_torch_to_complain_of(weight):
    x = torch.randn(128, 24, 8, 8)
    assert not winograd.pays(x, torch.randn(weight))
    if weight[1] != 24 or len(weight) != 4:
        with pytest.raises(RuntimeError):
            convolve(x, torch.randn(weight))


def test_a_bias_need_not_lie_in_one_piece():
    x, weight, bias = torch.randn(128, 24, 8, 8), torch.randn(24, 24, 3, 3), torch.randn(48)[::2]
    torch.testing.assert_close(convolve(x, weight, bias), F.conv2d(x, weight, bias, padding=1), rtol=1e-3, atol=1e-3)


@pytest.fixture
def types(monkeypatch):
    """The types of the maps of each compiled call."""
    seen = []
    for name in ("_forward", "_filters"):

        def noted(x, *rest, _call=getattr(winograd, name)):
            seen.append(x.dtype)
            return _call(x, *rest)

        monkeypatch.setattr(winograd, name, noted)
    return seen


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e5], ids=["usual", "small", "large"])
@pytest.mark.parametrize(
    ("count", "before", "after", "height", "width"),
    [(8, 24, 48, 31, 31), (57, 48, 48, 9, 9), (100, 20, 40, 13, 10), (512, 16, 17, 2, 3), (80, 33, 100, 8, 9)],
)
def test_in_16_bits_it_computes_nearly_the_same(half_type, types, count, before, after, height, width, size):
    """Of any size: what is multiplied is brought into the range that these numbers have."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, before, height, width, dtype=torch.float64, generator=draw) * size
    weight = torch.randn(after, before, 3, 3, dtype=torch.float64, generator=draw) / before
    bias = torch.randn(after, dtype=torch.float64, generator=draw) * size
    assert max(errors(x, weight, bias, False, in_halves)) < 0.04
    output, *gradients = errors(x, weight, None, True, in_halves)
    assert output < 0.03 and max(gradients) < 0.2  # some maxima are taken from a neighbour that is as large
    assert len(types) == 6 and set(types) == {torch.bfloat16}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(16, 70), st.integers(16, 110), st.integers(2, 18), st.integers(2, 18), st.booleans())
def test_in_16_bits_whatever_the_shape(half_type, before, after, height, width, biased):
    draw = torch.Generator().manual_seed(before * after + height)
    tiles = -(-height // 4) * -(-width // 4)
    x = torch.randn(-(-512 // tiles), before, height, width, dtype=torch.float64, generator=draw)
    weight = torch.randn(after, before, 3, 3, dtype=torch.float64, generator=draw) / before
    bias = torch.randn(after, dtype=torch.float64, generator=draw) if biased else None
    assert max(errors(x, weight, bias, False, in_halves)) < 0.05


@pytest.mark.parametrize("where", ["maps", "gradient", "both"])
def test_what_float16_cannot_hold_is_computed_in_float32(half_type, types, where):
    """Single numbers that `scale_to` does not look at, ten thousand times as large as the others: bfloat16 has them."""
    x, weight, gradient = torch.randn(128, 32, 8, 8), torch.randn(32, 32, 3, 3) / 32, torch.randn(128, 32, 8, 8)
    for name, maps in (("maps", x), ("gradient", gradient)):
        if where in (name, "both"):
            maps[5, 7, 4, 4] = 3e4
    results = []
    for compute in (lambda x, w: F.conv2d(x, w, padding=1), lambda x, w: in_halves(x, w, None, False)):
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        y = compute(*(leaf.contiguous(memory_format=torch.channels_last) for leaf in leaves))
        y.backward(gradient.contiguous(memory_format=torch.channels_last))
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    assert all(float((a - b).norm() / b.norm()) < 0.04 for b, a in zip(*results, strict=True))
    # Of the output, of the gradients of maps and of filters.
    again = 0 if half_type == "bf16" else {"maps": 2, "gradient": 2, "both": 3}[where]
    assert types.count(torch.bfloat16) == 3 and types.count(torch.float32) == again


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", [0, 1], ids=["maps", "gradient"])
def test_backward_too_what_is_not_a_number_stays_so(compute, bad, where):
    x, gradient = torch.randn(128, 32, 8, 8), torch.randn(128, 32, 8, 8)
    (x, gradient)[where][5, 7, 4, 4] = bad
    x, weight = x.requires_grad_(), torch.randn(32, 32, 3, 3, requires_grad=True)
    compute(x, weight, bias=None, pooled=False).backward(gradient)
    assert not weight.grad.isfinite().all()
    assert bool(x.grad.isfinite().all()) == (where == 0)


def test_small_numbers_that_are_not_looked_at_are_not_lost(half_type):
    x, weight = torch.zeros(128, 32, 8, 8), torch.randn(32, 32, 3, 3)
    x[77, :, 3:5, 3:5] = torch.randn(32, 2, 2) * 1e-8
    got, wanted = in_halves(x, weight, None, False), F.conv2d(x, weight, padding=1)
    assert float((got - wanted).norm() / wanted.norm()) < 0.03
    assert not in_halves(torch.zeros_like(x), weight, None, False).any()


def test_maps_keep_their_type(half_type):
    weight = torch.randn(32, 32, 3, 3, requires_grad=True)
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(128, 32, 8, 8, dtype=dtype, requires_grad=True)
        y = in_halves(x, weight, None, True)
        y.float().sum().backward()
        assert y.dtype == x.grad.dtype == dtype and weight.grad.dtype == torch.float32


def test_16_bits_end_with_their_block_and_stay_out_of_small_layers(half_type):
    x, weight = torch.randn(128, 32, 8, 8), torch.randn(32, 32, 3, 3) / 32
    exact = convolve(x, weight)
    rounded = in_halves(x, weight, None, False)
    assert not torch.equal(exact, rounded) and torch.equal(convolve(x, weight), exact)
    few = x[:2]
    assert torch.equal(in_halves(few, weight, None, False), F.conv2d(few, weight, padding=1))
    assert in_halves(few.bfloat16(), weight, None, True).shape == (2, 32, 4, 4)
