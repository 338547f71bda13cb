"""Grids of generated images for figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show_grid(axes: Axes, images: Tensor, rows: int, columns: int) -> None:
    """Draw the first rows × columns images side by side, without frame and ticks.

    Args:
        axes: the axes to draw on.
        images: (n, C, H, W) in [-1, 1], grey (C = 1) or colour (C = 3); missing images stay white.
        rows: number of rows.
        columns: number of columns.
    """
    axes.imshow(tile_images(images, rows, columns).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def tile_images(images: Tensor, rows: int, columns: int) -> Tensor:
    """Return the first rows × columns images (n, C, H, W) in [-1, 1] as one, (rows·(H+1) − 1, columns·(W+1) − 1[, C]).

    Its values lie in [0, 1], with white lines between images; NaN and +∞ become white.
    """
    pixels = ((images[: rows * columns].float().cpu() + 1) / 2).nan_to_num(1.0, 1.0, 0.0).clamp(0, 1)
    count, channels, height, width = pixels.shape
    tiles = torch.ones(rows * columns, channels, height + 1, width + 1)
    tiles[:count, :, :height, :width] = pixels
    tiles = tiles.reshape(rows, columns, channels, height + 1, width + 1).permute(0, 3, 1, 4, 2)
    grid = tiles.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    return grid[..., 0] if channels == 1 else grid
