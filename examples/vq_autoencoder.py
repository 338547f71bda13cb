"""A VQ autoencoder and a patch discriminator that is switched on later, on Fashion-MNIST (Debian's package) or digits.

python examples/vq_autoencoder.py
detente train --game vq_autoencoder.game --method alternating --out runs/vq     # inside examples/
"""

import gzip
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, relu

import detente
from detente.data.digits import Digits

FASHION = Path("/usr/share/datasets/fashion-mnist")  # apt install dataset-fashion-mnist


class Autoencoder(nn.Module):
    """Images (batch, 1, 28, 28) to their reconstructions, and the losses of the codebook and of the encoder, ()."""

    def __init__(self, codes: int = 64, width: int = 8) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(codes, width) / 4)
        encode = nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, width, 1)
        decode = nn.Conv2d(width, 32, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU()
        self.encoder = nn.Sequential(*encode)
        self.decoder = nn.Sequential(*decode, nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replace the features at each position by the nearest code; gradients pass straight through."""
        z = self.encoder(x).movedim(1, -1)  # (batch, 7, 7, width)
        code = self.codebook[torch.cdist(z.detach().flatten(0, 2), self.codebook.detach()).argmin(1)].view_as(z)
        straight = (z + (code - z).detach()).movedim(-1, 1)
        return self.decoder(straight), mse_loss(code, z.detach()), mse_loss(z, code.detach())


def judge() -> nn.Module:
    """Return a module that maps images (batch, 1, 28, 28) to one score per patch, (batch, 1, 7, 7)."""
    first, second, last = nn.Conv2d(1, 16, 4, 2, 1), nn.Conv2d(16, 32, 4, 2, 1), nn.Conv2d(32, 1, 3, 1, 1)
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)


@cache
def pixels(split: str = "train") -> np.ndarray:
    """Return the images of a split, "train" or "t10k", (n, 28, 28) uint8."""
    if not FASHION.exists():
        digits = Digits().arrays[0][:, 0].numpy()  # in the order of their labels
        return digits[::5] if split == "t10k" else digits[np.arange(len(digits)) % 5 > 0]
    content = gzip.decompress((FASHION / f"{split}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def game(weight: float = 0.1, start: int = 500, ramp: int = 500, judge_start: int = 0) -> detente.Networks:
    """Return the game, whose adversarial term grows from 0 to `weight` in the `ramp` steps after step `start`."""

    def losses(net, batch, t):
        x = batch["real"]
        reconstruction, codebook, commitment = net.autoencoder(x)
        fake = net.judge(reconstruction)
        terms = {"l1": l1_loss(reconstruction, x), "codebook": codebook, "commitment": 0.25 * commitment}
        return {
            "autoencoder": {**terms, "adversarial": -weight * ((t - start) / ramp).clamp(0, 1) * fake.mean()},
            "judge": lambda: (t >= judge_start) * (relu(1 - net.judge(x)).mean() + relu(1 + fake).mean()),
        }

    players = {"autoencoder": Autoencoder, "judge": judge}
    show = lambda net, batch: net.autoencoder(batch["real"])[0]  # noqa: E731
    return detente.Networks(players, losses, pixels(), batch=32, show=show)


@torch.no_grad()
def scores(players: dict[str, nn.Module]) -> dict[str, float]:
    """Return the mean error of test images' grey levels (0 … 2), and how much of neighbours' differences is kept."""
    x = torch.tensor(pixels("t10k")[:1000])[:, None] / 127.5 - 1
    reconstruction = players["autoencoder"](x)[0]
    reconstructed, real = (image.diff(dim=-1).abs().mean() for image in (reconstruction, x))
    return {"error": float(l1_loss(reconstruction, x)), "detail": float(reconstructed / real)}


def main(steps: int = 2000) -> None:
    """Train, and print scores and losses four times."""
    stepper = detente.Stepper(game(), detente.methods.alternating(learning_rate=1e-3))
    for _ in range(4):
        info = [stepper.step() for _ in range(steps // 4)][-1]
        numbers = {**scores(stepper.modules()), **info.terms["autoencoder"]}
        print(f"step {stepper.state.t}:", ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()
