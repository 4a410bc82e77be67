"""Windows of mirrored pictures, held against numpy's padding, by compiled functions and by torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shoebox.base import windows
from shoebox.base.arithmetic import library
from shoebox.base.windows import cut_windows

ROUTES = [False, pytest.param(True, marks=pytest.mark.skipif(library() is None, reason="no compiled arithmetic"))]


def expected(pictures: Tensor, corners: Tensor, reach: int, chosen: Tensor | None) -> np.ndarray:
    height, width = pictures.shape[1:3]
    cut = []
    for i, (picture, (y, x)) in enumerate(zip(pictures.numpy(), corners.tolist(), strict=True)):
        picture = picture[:, ::-1] if chosen is not None and chosen[i] else picture
        wide = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), "reflect")
        cut.append(wide[y : y + height, x : x + width])
    return np.stack(cut)


@pytest.mark.parametrize("compiled", ROUTES)
@given(data=st.data())
def test_windows_are_those_of_a_padded_picture(compiled: bool, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    reach = data.draw(st.integers(0, min(height, width) - 1))
    seed, count = data.draw(st.integers(0, 1000)), data.draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (count, height, width, 3), generator=generator).byte()
    corners = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator)
    chosen = torch.rand(count, generator=generator) < 0.5 if data.draw(st.booleans()) else None
    around = torch.full((count + 2, height, width, 3), 77, dtype=torch.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "reaches", lambda x: compiled)
        fresh = cut_windows(pictures, corners, reach, chosen)
        cut_windows(pictures, corners, reach, chosen, around[1:-1])
    assert np.array_equal(fresh.numpy(), expected(pictures, corners, reach, chosen))
    assert torch.equal(around[1:-1], fresh)
    assert (around[0] == 77).all() and (around[-1] == 77).all()


@pytest.mark.parametrize("pictures", [torch.rand(2, 5, 6, 3), torch.arange(2 * 5 * 6).view(2, 5, 6, 1).byte()])
def test_what_are_no_pictures_of_bytes_and_three_colours_is_left_to_torch(pictures: Tensor) -> None:
    corners, chosen = torch.tensor([[0, 3], [2, 4]]), torch.tensor([True, False])
    kept = cut_windows(pictures, corners, 2, chosen)
    assert np.array_equal(kept.numpy(), expected(pictures, corners, 2, chosen))


def test_tensors_without_an_address_are_left_to_torch() -> None:
    kept = cut_windows(
        torch.empty(2, 5, 5, 3, dtype=torch.uint8, device="meta"), torch.empty(2, 2, device="meta").long(), 1
    )
    assert kept.device.type == "meta" and kept.shape == (2, 5, 5, 3)
