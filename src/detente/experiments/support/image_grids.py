"""Generated images in a figure: a grid of them in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show_grid(axes: Axes, images: Tensor, rows: int, columns: int) -> None:
    """Draw the first rows × columns images side by side, without frame and ticks.

    Args:
        axes: where.
        images: (n, C, H, W) in [-1, 1], C = 1 in grey, C = 3 in colour; where n is too small, the rest stays white.
        rows: of images.
        columns: of images.
    """
    axes.imshow(tile_images(images, rows, columns).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def tile_images(images: Tensor, rows: int, columns: int) -> Tensor:
    """Return the first rows × columns images (n, C, H, W) in [-1, 1] as one, (rows·(H+1) − 1, columns·(W+1) − 1[, C]).

    It lies in [0, 1], with a white line between images; pixels that are not finite become white.
    """
    shown = ((images[: rows * columns].float().cpu() + 1) / 2).nan_to_num(1.0, 1.0, 0.0).clamp(0, 1)
    count, channels, height, width = shown.shape
    tiles = torch.ones(rows * columns, channels, height + 1, width + 1)
    tiles[:count, :, :height, :width] = shown
    tiles = tiles.reshape(rows, columns, channels, height + 1, width + 1).permute(0, 3, 1, 4, 2)
    whole = tiles.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    return whole[..., 0] if channels == 1 else whole
