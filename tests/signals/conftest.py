"""Small games, observations of them, and histories built by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detente import Adversarial, methods
from detente.game import Batch
from detente.games.gan import gan_of
from detente.games.networks import Networks
from detente.methods.method import Method
from detente.signals.base import History, Observation
from detente.signals.reference import Reference

Observe = Callable[..., Observation]
Past = Callable[..., History]


def mlp(*sizes: int) -> nn.Sequential:
    """Return linear layers with leaky rectifiers between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def plane(count: int = 1024) -> Tensor:
    """Return standard normal points in the plane."""
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0))


def plane_game(data: Tensor | None = None, **options: Any) -> Adversarial:
    """Return a GAN on points in the plane."""
    data = plane() if data is None else data
    networks = (lambda: mlp(2, 16, data.shape[1])), (lambda: mlp(data.shape[1], 16, 1))
    return Adversarial(*networks, data, latent=2, batch=32, **options)


def artists(
    losses: Callable[..., Any], critic: Callable[[], nn.Module] | None = None, shift: float = 0.0, **more: Any
) -> Networks:
    """Return a GAN of players with other names."""
    data = plane() + shift

    def draw(generator: torch.Generator) -> Batch:
        rows = torch.randint(len(data), (32,), generator=generator)
        return {"real": data[rows], "z": torch.randn(32, 2, generator=generator)}

    players = {"artist": lambda: mlp(2, 16, 2), "critic": critic or (lambda: mlp(2, 16, 1))}
    return Networks(players, losses, draw, **more)


def cross_entropy(net: Any, batch: Any) -> dict[str, Tensor]:
    """Return the usual losses of both players."""
    real, fake = net.critic(batch["real"]), net.critic(net.artist(batch["z"]))
    soft = nn.functional.softplus
    return {"artist": soft(-fake).mean(), "critic": soft(-real).mean() + soft(fake).mean()}


@pytest.fixture
def observe() -> Observe:
    """Return a function that observes a game before its first step, or elsewhere."""

    def made(game: Any, method: Method | None = None, **changes: Any) -> Observation:
        method = (method or methods.alternating(learning_rate=1e-3)).playing(game)
        gan = gan_of(game)
        state = method.initial(game, torch.Generator().manual_seed(0))
        real = gan.real(512, torch.Generator().manual_seed(3))
        held_out = gan.real(512, torch.Generator().manual_seed(4))
        made = Observation(gan, method, state, None, 0, real, held_out, Reference(gan.real(512, torch.Generator())))
        return replace(made, **changes)

    return made


@pytest.fixture
def past() -> Past:
    """Return a function that builds a history from values (the last one is repeated) and losses."""

    def made(
        values: dict[str, Sequence[float] | float],
        losses: dict[str, Sequence[float] | float] | None = None,
        game: Any = None,
        count: int = 13,
        total: int = 2000,
        **changes: Any,
    ) -> History:
        game = game or plane_game()
        gan, steps = gan_of(game), [50 * index for index in range(count)]
        rows = {name: list(np.broadcast_to(value, (count,)).astype(float)) for name, value in values.items()}
        names = {"generator": gan.generator, "discriminator": gan.discriminator}
        of_players = {
            names[role]: list(np.broadcast_to(value, (len(value) if np.ndim(value) else 600,)).astype(float))  # pyright: ignore
            for role, value in (losses or {}).items()
        }
        return History(gan, methods.alternating(), total, steps, rows, of_players, **changes)

    return made
