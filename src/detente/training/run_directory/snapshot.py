"""Save samples of a game: points with the discriminator's level sets, images as pictures, or sound."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.state import State

POINTS, IMAGES, SOUNDS, RESOLUTION, GAP = 512, 64, 9, 48, 8
SOUND_RATE = 16_000  # samples per second of WAV files
ROWS, COLUMNS = 8, 10  # of an interpolation: pairs of latents, and images per pair
LATENTS = 20_170_601  # seed of the latents, the same in all snapshots so that an image can be compared over time


def write_snapshot(game: Game, state: State, directory: Path, seed: int, step: int) -> dict[str, Path]:
    """Write samples of a game at `state`, always with the same latents or batch; a game without samples writes nothing.

    Args:
        game: the game.
        state: state of the training; not modified.
        directory: run directory to write into.
        seed: seed of the training, for the file name.
        step: number of steps, for the file name.

    Returns:
        The files by folder. `samples`: for points in the plane, `.npz` with `fake`, `real`, `levels` and `extent`; for
        images, `.png`; for sound, `.wav` and a `.png` of its spectrograms. `interpolations`, for images of a GAN only:
        each row interpolates between two latents.
    """
    if isinstance(game, Networks) and game.shows:
        return _write_shown(game, state, directory, seed, step)
    if not isinstance(game, Adversarial):
        return {}
    shape, generator = game.data.shape, torch.Generator().manual_seed(LATENTS)
    if len(shape) == 3:
        pictures = {
            "samples": image_grid(game.sample(state, IMAGES, generator)),
            "interpolations": _interpolation_picture(game, state),
        }
        paths = {folder: _path(directory / folder, seed, step, ".png") for folder in pictures}
        for folder, picture in pictures.items():
            picture.save(paths[folder])
        return paths
    if shape != (2,):
        return {}
    path = _path(directory / "samples", seed, step, ".npz")
    fake = game.sample(state, POINTS, generator).float().cpu()
    real = game.data.draw(POINTS, generator)["real"].cpu()
    limit = 1.3 * float(real.abs().max())
    axis = torch.linspace(-limit, limit, RESOLUTION)
    points = torch.cartesian_prod(axis, axis)[:, [1, 0]].to(state.t.device)  # rows follow y, columns x
    levels = game.scores(state, points).reshape(RESOLUTION, RESOLUTION).float().cpu()
    extent = np.array([-limit, limit, -limit, limit], dtype=np.float32)
    np.savez_compressed(path, fake=fake.numpy(), real=real.numpy(), levels=levels.numpy(), extent=extent)
    return {"samples": path}


@torch.no_grad()
def _write_shown(game: Networks, state: State, directory: Path, seed: int, step: int) -> dict[str, Path]:
    """Write what a game shows of its example batch: several kinds of images side by side, sound, or points."""
    batch = {name: tensor.to(state.t.device) for name, tensor in game.example().items()}
    shown = game.show(state, game.with_step(batch, state.t))
    folder, pictures = directory / "samples", []
    for samples in (samples.cpu() for samples in shown.values()):
        if samples.dim() == 4:
            pictures.append(image_grid(samples[:IMAGES]))
        elif samples.dim() == 3:
            pictures.append(spectrograms(samples[:SOUNDS]))
            write_sound(_path(folder, seed, step, ".wav"), samples[:SOUNDS])
        elif samples.dim() == 2 and samples.shape[1] == 2 and not pictures:
            path = _path(folder, seed, step, ".npz")
            np.savez_compressed(path, fake=samples[:POINTS].numpy())
            return {"samples": path}
    if not pictures:
        return {}
    path = _path(folder, seed, step, ".png")
    _side_by_side(pictures).save(path)
    return {"samples": path}


def _side_by_side(pictures: list[Image.Image]) -> Image.Image:
    mode = "RGB" if any(picture.mode == "RGB" for picture in pictures) else "L"
    size = sum(picture.width + GAP for picture in pictures) - GAP, max(picture.height for picture in pictures)
    canvas, left = Image.new(mode, size, (255,) * 3 if mode == "RGB" else 255), 0
    for picture in pictures:
        canvas.paste(picture.convert(mode), (left, 0))
        left += picture.width + GAP
    return canvas


def write_sound(path: Path, sounds: Tensor) -> None:
    """Write sounds in [−1, 1], (n, channels, time), one after the other into a WAV file of 16 bits and 16 kHz."""
    channels = sounds.shape[1]
    values = (sounds.clamp(-1, 1).nan_to_num() * 32767).round().to(torch.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes(values.permute(0, 2, 1).reshape(-1, channels).numpy().astype("<i2").tobytes())


def spectrograms(sounds: Tensor) -> Image.Image:
    """Return the spectrograms of the first channel of sounds, (n, channels, time), as one picture, 80 dB deep."""
    window = min(256, sounds.shape[2])
    spectra = torch.stft(
        sounds[:, 0].float(), window, window // 4, window=torch.hann_window(window), return_complex=True
    )
    decibels = 20 * spectra.abs().clamp(min=1e-8).log10()
    decibels = (decibels - decibels.amax()).clamp(min=-80) / 80  # from −1 to 0
    return image_grid(2 * decibels.flip(1).unsqueeze(1) + 1)


def image_grid(samples: Tensor, columns: int | None = None) -> Image.Image:
    """Return images (n, channels, height, width) in [−1, 1] as one picture, row by row. Default: a square."""
    count, channels, height, width = samples.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = int(np.ceil(count / columns))
    pixels = ((samples.cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    canvas = torch.zeros(channels, rows * (height + 2) - 2, columns * (width + 2) - 2, dtype=torch.uint8)
    for index, image in enumerate(pixels):
        top, left = (index // columns) * (height + 2), (index % columns) * (width + 2)
        canvas[:, top : top + height, left : left + width] = image
    array = canvas.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if channels == 1 else array[:, :, :3])


def interpolate(start: Tensor, end: Tensor, count: int) -> Tensor:
    """Return latents interpolated from each start to its end, both included, (rows, count, latent).

    z(s) = (sin((1 − s)Ω) z₀ + sin(sΩ) z₁)/sin Ω, Ω the angle between z₀ and z₁. The middle of a straight line
    would be shorter than normally distributed vectors are.

    Args:
        start: z₀, (rows, latent).
        end: z₁, (rows, latent).
        count: number of latents per row, ≥ 2.

    Source: White 2016, Sampling Generative Networks (arXiv:1609.04468), section 2.1 (Shoemake's slerp).
    """
    angle = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1).acos().reshape(-1, 1, 1)
    share = torch.linspace(0, 1, count, device=start.device).reshape(1, -1, 1)
    start_column, end_column = start.unsqueeze(1), end.unsqueeze(1)
    parallel = angle.sin() < 1e-3  # parallel or antiparallel latents, where the arc is not unique
    arc = ((1 - share) * angle).sin() * start_column + (share * angle).sin() * end_column
    return torch.where(
        parallel, (1 - share) * start_column + share * end_column, arc / angle.sin().where(~parallel, 1.0)
    )


def _interpolation_picture(game: Adversarial, state: State) -> Image.Image:
    """Return a picture with one row of images per interpolation; if there are classes, each row has one class."""
    generator = torch.Generator().manual_seed(LATENTS + 1)
    endpoints = torch.randn(2, ROWS, math.prod(game.latent_shape), generator=generator)
    latents = (
        interpolate(endpoints[0], endpoints[1], COLUMNS)
        .flatten(0, 1)
        .unflatten(1, game.latent_shape)
        .to(state.t.device)
    )
    labels = getattr(game, "present", None)  # of a conditional game, whose generator also takes labels
    conditioning = [] if labels is None else [labels[torch.arange(ROWS) % len(labels)].repeat_interleave(COLUMNS)]
    return image_grid(game.generate(state, latents, *(tensor.to(latents.device) for tensor in conditioning)), COLUMNS)


def _path(folder: Path, seed: int, step: int, suffix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"seed{seed}-step{step:08d}{suffix}"
