"""Parts that many good GANs have, and that no check complains about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from detente import Adversarial, methods
from detente.checks import off
from detente.checks.base import inspect
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1

PLANE = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
CATEGORIES = torch.cat([PLANE, nn.functional.one_hot(torch.arange(2000) % 3, 3).float()], 1)


@pytest.fixture(autouse=True)
def unchecked_construction() -> Iterator[None]:
    with off():
        yield


class Attention(nn.Module):
    """Self-attention over four tokens of four numbers, with a scale that begins at 0, as in SAGAN."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = spectral_norm(nn.Linear(4, 4)), spectral_norm(nn.Linear(4, 4))
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(len(x), 4, 4)
        weights = (self.query(tokens) @ tokens.transpose(1, 2)).softmax(-1)
        return x + self.scale * (weights @ self.value(tokens)).flatten(1)


class Branch(nn.Module):
    """A linear map, and a branch whose last layer is zero at first."""

    def __init__(self) -> None:
        super().__init__()
        self.straight, self.branch = nn.Linear(4, 2), mlp(4, 16, 2)
        nn.init.zeros_(self.branch[-1].weight)  # pyright: ignore[reportArgumentType]

    def forward(self, latents: Tensor) -> Tensor:
        return self.straight(latents) + self.branch(latents)


class Categories(nn.Module):
    """Two numbers, and the probabilities of three categories."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp(4, 32, 5)

    def forward(self, latents: Tensor) -> Tensor:
        outputs = self.layers(latents)
        return torch.cat([outputs[:, :2], outputs[:, 2:].softmax(1)], 1)


def mlp(*sizes: int, dropout: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers[: -2 if dropout else -1])


def attentive(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        spectral_norm(nn.Linear(inputs, 16)), nn.ReLU(), Attention(), spectral_norm(nn.Linear(16, outputs))
    )


@pytest.mark.parametrize(
    "game",
    [
        lambda: Adversarial(lambda: attentive(4, 2), lambda: attentive(2, 1), PLANE, 4, "hinge"),
        lambda: Adversarial(Branch, lambda: mlp(2, 16, 1), PLANE, 4),
        lambda: Adversarial(Categories, lambda: mlp(5, 32, 1), CATEGORIES, 4, penalties=R1(0.1)),
        lambda: Adversarial(
            lambda: mlp(4, 16, 2),
            lambda: mlp(2, 32, 32, 1, dropout=0.3),
            PLANE,
            4,
            "wasserstein",
            GradientPenalty(10.0),
        ),
    ],
    ids=["self-attention that begins at zero", "a branch of zero", "categories by softmax", "dropout under a penalty"],
)
def test_usual_parts_are_no_fault(game: object) -> None:
    assert inspect(game(), methods.alternating(learning_rate=2e-4, betas=(0.5, 0.99))) == []  # pyright: ignore
