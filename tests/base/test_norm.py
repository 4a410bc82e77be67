"""Batch norm and GELU as one function compute what torch does in two."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shoebox.base import arithmetic
from shoebox.base.norm import gelu, norm_gelu

pytestmark = pytest.mark.skipif(arithmetic.library() is None, reason="no compiled arithmetic here")


@pytest.fixture(params=[32, 16, 8], ids=["widest", "16 lanes", "8 lanes"], autouse=True)
def lanes(request):
    arithmetic.library().arithmetic_limit(request.param)
    yield
    arithmetic.library().arithmetic_limit(32)


def require_16_bits():
    if arithmetic.lanes(halves=True) == 0:
        pytest.skip("this processor multiplies no 16 bits, or none in vectors so wide")


def settled_norm(channels):
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("channels", [16, 20, 48])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (3, 100), (1e-3, 0)])
def test_it_computes_what_torch_does_and_the_statistics_follow(channels, scale, offset):
    torch.manual_seed(0)
    norm = settled_norm(channels)
    exact = copy.deepcopy(norm).double()
    x = (torch.randn(64, channels, 9, 9) * scale + offset).contiguous(memory_format=torch.channels_last)
    mine, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    y, wanted = norm_gelu(norm, mine), F.gelu(exact(theirs))
    gradient = torch.randn_like(y)
    y.backward(gradient)
    wanted.backward(gradient.double())
    near = 1e-5 if offset == 0 else 1e-3  # float32 holds a hundred and three to five digits
    for got, right in (
        (y.detach(), wanted.detach()),
        (mine.grad, theirs.grad),
        (norm.bias.grad, exact.bias.grad),
        (norm.running_mean + scale, exact.running_mean + scale),
        (norm.running_var, exact.running_var),
    ):
        assert float((got.double() - right).norm() / right.norm()) < near
    assert norm.num_batches_tracked == exact.num_batches_tracked == 1


def test_gelu_is_right_far_out():
    norm = settled_norm(16)
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    x = torch.randn(64, 16, 16, 16)
    x[0] *= 40
    y = norm_gelu(norm, x)
    torch.testing.assert_close(y, F.gelu(F.batch_norm(x, None, None, training=True)), rtol=1e-4, atol=1e-5)


def test_used_or_small_or_with_a_scale_that_trains_it_is_torch_s_own():
    norm = settled_norm(16)
    x = torch.randn(64, 16, 16, 16)
    assert torch.equal(norm_gelu(copy.deepcopy(norm), x[:2]), F.gelu(copy.deepcopy(norm)(x[:2])))
    free = copy.deepcopy(norm).requires_grad_()
    assert torch.equal(norm_gelu(free, x), F.gelu(copy.deepcopy(norm)(x)))
    norm.eval()
    norm.bias.requires_grad_()
    assert torch.equal(norm_gelu(norm, x), F.gelu(norm(x)))


@pytest.mark.parametrize("shape", [(64, 16, 16, 16), (30, 20, 11, 11), (9, 13, 25, 25)])
def test_gelu_alone_is_torch_s_where_no_gradient_is_wanted(shape):
    torch.manual_seed(0)
    x = torch.randn(shape) * 3
    given = x.clone()
    y = gelu(x)
    assert torch.equal(x, given)
    torch.testing.assert_close(y, F.gelu(x), rtol=1e-6, atol=4e-6)
    assert not torch.equal(y, F.gelu(x))  # so that this is not torch's
    with torch.no_grad():
        assert torch.equal(gelu(x.clone().requires_grad_()), y)
    trained = x.clone().requires_grad_()
    assert torch.equal(gelu(trained), F.gelu(trained))
    assert torch.equal(gelu(x[:1]), F.gelu(x[:1]))
    assert torch.equal(gelu(x.flatten(1)), F.gelu(x.flatten(1)))


def test_folded_away_the_norm_leaves_gelu():
    x = torch.randn(64, 16, 16, 16)
    norm = settled_norm(16).eval()
    with torch.no_grad():
        assert torch.equal(norm_gelu(nn.Identity(), x), gelu(x))
        torch.testing.assert_close(norm_gelu(norm, x), F.gelu(norm(x)), rtol=1e-5, atol=1e-5)


def test_gelu_and_its_slope_are_right_near_and_far():
    torch.manual_seed(0)
    z = torch.linspace(-8, 8, 1 << 16).reshape(64, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    assert float((gelu(z).double() - F.gelu(z.double())).abs().max()) < 3e-6
    norm = nn.BatchNorm2d(16).requires_grad_(False)
    z = (z / 8) ** 9  # most near 0, some over four standard deviations away
    x, exact = z.clone().requires_grad_(), z.double().requires_grad_()
    gradient = torch.randn_like(z)
    norm_gelu(norm, x).backward(gradient)
    F.gelu(F.batch_norm(exact, None, None, training=True)).backward(gradient.double())
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def test_what_is_not_a_number_stays_so():
    x = torch.randn(64, 16, 16, 16)
    x[3, 5, 4, 4] = float("nan")
    bad = norm_gelu(settled_norm(16), x).isnan().flatten(2).all(2).any(0)
    assert bad[5] and bad.sum() == 1


def test_channels_that_do_not_fit_are_for_torch_to_complain_of():
    with pytest.raises(RuntimeError, match="16"):
        norm_gelu(settled_norm(16), torch.randn(64, 24, 16, 16))


@pytest.mark.parametrize("channels", [16, 20, 48])
def test_maps_in_bfloat16_are_read_and_written_as_such(channels):
    require_16_bits()
    torch.manual_seed(0)
    norm = settled_norm(channels)
    exact = copy.deepcopy(norm)
    x = torch.randn(64, channels, 9, 9, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    mine, theirs = x.clone().requires_grad_(), x.float().requires_grad_()
    y, wanted = norm_gelu(norm, mine), norm_gelu(exact, theirs)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    wanted.backward(gradient.float())
    assert y.dtype == mine.grad.dtype == torch.bfloat16
    torch.testing.assert_close(y, wanted.bfloat16(), rtol=2**-7, atol=3e-4)
    assert float((norm.bias.grad - exact.bias.grad).norm() / exact.bias.grad.norm()) < 0.01
    torch.testing.assert_close(norm.running_var, exact.running_var)
    assert float((mine.grad.float() - theirs.grad).norm() / theirs.grad.norm()) < 5e-3


def test_gelu_and_its_slope_are_right_in_bfloat16_near_and_far():
    require_16_bits()
    torch.manual_seed(0)
    norm = settled_norm(16)
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    x = torch.randn(64, 16, 16, 16).contiguous(memory_format=torch.channels_last)
    x[0] *= 20
    x = x.bfloat16().requires_grad_()
    z = (x.detach().float() - x.float().mean((0, 2, 3), keepdim=True)) / x.float().std((0, 2, 3), keepdim=True)
    z = z.detach().requires_grad_()
    F.gelu(z).sum().backward()
    y = norm_gelu(norm, x)
    assert z.min() < -8 and z.max() > 8
    torch.testing.assert_close(y.float(), F.gelu(z), rtol=2**-7, atol=1e-3)
    # A gradient that is 1 at one place and 0 elsewhere comes back, but for the means, as the slope there.
    for place in range(0, 2000, 91):
        at = (0, place % 16, place // 16 % 16, place // 256 % 16)
        one = torch.zeros_like(x)
        one[at] = 1
        (slope,) = torch.autograd.grad(y, x, one, retain_graph=True)
        spread = x.float().std((0, 2, 3))[at[1]]
        torch.testing.assert_close(slope[at].float() * spread, z.grad[at], rtol=0.02, atol=2e-3)
