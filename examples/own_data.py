"""Your own data: pass a tensor, an array, a Dataset or a folder of images as it is.

python examples/own_data.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset

import detente
from detente import methods
from detente.data.arrays import as_data
from detente.data.folders import ImageFolder


class Rotated(Dataset):
    """The digits, each rotated by 90 degrees: any Dataset whose items are a sample, or a sample and a label."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index].rot90(dims=(1, 2)), int(self.labels[index])


def write_folder(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write digits as image files, one sub-folder per class, as collections of photographs often are."""
    for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / f"class {label}"
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / f"{index:04d}.png")


def sources(folder: Path) -> Iterator[tuple[str, object]]:
    """Yield everything that can be passed as `data`, with a name."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8)
    floats = torch.from_numpy(pixels).float()[:, None] / 127.5 - 1

    yield "a tensor of points", torch.randn(1000, 2).cumsum(1)  # any finite numbers
    yield "an array of bytes", pixels  # (N, H, W), uint8: a sample is (1, H, W) in [-1, 1]
    yield "a tensor of images", floats  # (N, C, H, W), floating point: already in [-1, 1]
    yield "a Dataset", Rotated(floats, torch.from_numpy(labels))  # read once, in order; integer labels are kept
    np.save(folder / "digits.npy", pixels)
    yield "a file of numbers", folder / "digits.npy"  # stays on disk, memory-mapped
    write_folder(folder / "images", pixels[:200], labels[:200])
    yield "a folder of images", ImageFolder(folder / "images", resolution=16, channels=1)  # or only the path


def network(inputs: int, outputs: tuple[int, ...], last: nn.Module) -> nn.Module:
    """Return a small network from `inputs` numbers to `outputs`, a shape."""
    count = int(np.prod(outputs))
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, count), last, nn.Unflatten(1, outputs)
    )


def main(steps: int = 20) -> None:
    """Train a few steps on each kind of data, and print its shape, range and labels."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources(Path(folder)):
            data = as_data(source)
            shape, numbers = data.shape, int(np.prod(data.shape))
            generator = partial(network, 8, shape, nn.Tanh() if len(shape) == 3 else nn.Identity())
            discriminator = partial(network, numbers, (1,), nn.Identity())
            game = detente.Adversarial(generator, discriminator, data=data, latent=8, batch=32)
            stepper = detente.Stepper(game, methods.alternating(), seed=0)
            for _ in range(steps):
                info = stepper.step()
            real = game.draw(torch.Generator().manual_seed(0))
            low, high = float(real["real"].min()), float(real["real"].max())
            labels = "labels" if "label" in real else "no labels"
            description = f"{data.size} samples {shape}, batch from {low:.2f} to {high:.2f}, {labels}"
            print(f"{name:20} {description}; loss after {steps} steps {info.losses['discriminator']:.3f}")


if __name__ == "__main__":
    main()
