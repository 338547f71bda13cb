"""What a generator makes at a moment, as a file: points with the discriminator's level sets, or a grid of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.state import State

POINTS, IMAGES, RESOLUTION = 512, 64, 48
LATENTS = 20_170_601  # seed of the latents that every snapshot shows, so that one image can be followed


def write_snapshot(game: Game, state: State, folder: Path, seed: int, step: int) -> Path | None:
    """Write what the generator makes at `state`; a game without one writes nothing.

    Args:
        game: the game.
        state: where it stands; not changed.
        folder: where to write.
        seed: whose state.
        step: when.

    Returns:
        The file: `.npz` with `fake`, `real`, `levels`, `extent` for points in the plane, `.png` for images.
    """
    if not isinstance(game, Adversarial):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed{seed}-step{step:08d}"
    shape, generator = game.data.shape, torch.Generator().manual_seed(LATENTS)
    if len(shape) == 3:
        path = path.with_suffix(".png")
        image_grid(game.sample(state, IMAGES, generator)).save(path)
        return path
    if shape != (2,):
        return None
    path = path.with_suffix(".npz")
    fake = game.sample(state, POINTS, generator).cpu()
    real = game.data.draw(POINTS, generator)["real"].cpu()
    reach = 1.3 * float(real.abs().max())
    axis = torch.linspace(-reach, reach, RESOLUTION)
    points = torch.cartesian_prod(axis, axis)[:, [1, 0]].to(state.t.device)  # rows follow y, columns x
    levels = game.scores(state, points).reshape(RESOLUTION, RESOLUTION).cpu()
    extent = np.array([-reach, reach, -reach, reach], dtype=np.float32)
    np.savez_compressed(path, fake=fake.numpy(), real=real.numpy(), levels=levels.numpy(), extent=extent)
    return path


def image_grid(samples: Tensor) -> Image.Image:
    """Return images (n, channels, height, width) in [−1, 1] as one picture, row by row in a square."""
    count, channels, height, width = samples.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = int(np.ceil(count / columns))
    pixels = ((samples.cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    canvas = torch.zeros(channels, rows * (height + 2) - 2, columns * (width + 2) - 2, dtype=torch.uint8)
    for index, image in enumerate(pixels):
        top, left = (index // columns) * (height + 2), (index % columns) * (width + 2)
        canvas[:, top : top + height, left : left + width] = image
    array = canvas.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if channels == 1 else array[:, :, :3])
