"""Your own networks: any two modules, trained on 1,797 real digits of 8 by 8 pixels, and printed as characters.

python examples/own_networks.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import detente
from detente import methods


class Generator(nn.Sequential):
    """Latents (batch, 16) to images (batch, 1, 8, 8) in [-1, 1], the range of the data: hence the tanh."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(16, 16 * 4 * 4),
            nn.Unflatten(1, (16, 4, 4)),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )


class Discriminator(nn.Sequential):
    """Images (batch, 1, 8, 8) to one logit each: no sigmoid at the end. Spectral norm and dropout are torch's own."""

    def __init__(self) -> None:
        super().__init__(
            spectral_norm(nn.Conv2d(1, 16, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.1),
            nn.Flatten(),
            spectral_norm(nn.Linear(16 * 4 * 4, 1)),
        )


def characters(images: Tensor) -> str:
    """Return images (n, 1, 8, 8) side by side, two characters per pixel."""
    ink = " .:-=+*#"
    levels = ((images[:, 0].clamp(-1, 1) + 1) / 2 * (len(ink) - 1)).round().int()
    return "\n".join(
        "  ".join("".join(ink[level] * 2 for level in row) for row in rows) for rows in levels.transpose(0, 1)
    )


def main(steps: int = 200) -> None:
    """Train, and print four generated digits."""
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1  # 0 … 16 to [-1, 1]

    # Classes, not modules: the seed decides the initial parameters. A module would keep its own.
    game = detente.Adversarial(Generator, Discriminator, data=images, latent=16, objective="hinge", batch=32)
    stepper = detente.Stepper(game, methods.alternating(learning_rate=2e-3), seed=0)
    for step in range(1, steps + 1):
        info = stepper.step()  # the game draws its own batches
        if step % max(1, steps // 4) == 0:
            losses = ", ".join(f"{player} {loss:.3f}" for player, loss in info.losses.items())
            print(f"step {step:4d}: {losses}")
    print(characters(stepper.sample(4)))

    generator, _ = stepper.modules()  # ordinary modules again: a Generator and a Discriminator
    print(f"{type(generator).__name__} with {sum(p.numel() for p in generator.parameters()):,} parameters, trained")


if __name__ == "__main__":
    main()
