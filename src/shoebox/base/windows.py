"""Windows cut from pictures that go on past their edges as their mirror image: what flips and translations are made of.

In: pictures (N, H, W, 3) uint8. Out: the same, moved; bytes are copied and none is lost or computed with. By a compiled
function where the compiled arithmetic serves, by torch elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shoebox.base.arithmetic import address, library, reaches


def cut_windows(
    pictures: Tensor, corners: Tensor, reach: int, reversed: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """From pictures extended by `reach` mirrored pixels on every side (the edge itself not repeated: F.pad's "reflect",
    which knows no uint8), cut windows of the original size.

    Args:
        pictures: (N, H, W, 3) uint8, contiguous.
        corners: (N, 2) int64 (y, x) of the windows' upper left corners in the extended pictures, 0 to 2·`reach`.
        reach: less than H and W.
        reversed: (N,) bool, which pictures are mirrored left–right first; None for none.
        out: where to put them, contiguous; by default in new memory.
    """
    whole = pictures.is_contiguous() and (out is None or out.is_contiguous())
    if not (whole and pictures.dtype == torch.uint8 and pictures.shape[3] == 3 and reaches(pictures)):
        return _selected(pictures, corners, reach, reversed, out)
    result = torch.empty_like(pictures) if out is None else out
    chosen = None if reversed is None else reversed.bool().contiguous()
    given = (pictures, result, corners.long().contiguous(), chosen)
    library().cut_windows(*map(address, given), *pictures.shape[:3], reach)
    return result


def _selected(pictures: Tensor, corners: Tensor, reach: int, reversed: Tensor | None, out: Tensor | None) -> Tensor:
    """The same by torch.

    A line of a window is one run of bytes in a line that goes on as its mirror image, whichever lines are wanted; those
    of a reversed picture lie a width further on. So the cut is an index_select over the overlapping runs that start at
    every pixel: five times as fast on a CPU as indexing with `[]`, eight as gathering pixels.
    """
    count, height, width, channels = pictures.shape
    left, right = pictures[:, :, 1 : reach + 1], pictures[:, :, width - reach - 1 : width - 1]
    columns = corners[:, 1:]
    if reversed is None:
        line = torch.cat([left.flip(2), pictures, right.flip(2)], 2)
    else:
        back = pictures.flip(2)
        line = torch.cat([back[:, :, width - reach - 1 : width - 1], pictures, back[:, :, 1:], left], 2)
        columns = columns + (width - 1) * reversed[:, None]
    runs = line.as_strided((line.numel() // channels - width + 1, width * channels), (channels, 1))
    rows = (torch.arange(height, device=pictures.device) + corners[:, :1] - reach).abs()
    rows = height - 1 - (height - 1 - rows).abs()
    rows += height * torch.arange(count, device=pictures.device)[:, None]
    starts = rows * line.shape[2] + columns
    flat = None if out is None else out.view(-1, width * channels)
    return torch.index_select(runs, 0, starts.flatten(), out=flat).view(pictures.shape)
