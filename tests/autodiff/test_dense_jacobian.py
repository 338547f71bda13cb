"""The dense Jacobian by layers equals the one by rows, also where the layered structure does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.modules import module as hooks

from detente.autodiff import dense_jacobian, jacobian, transposed_jacobian
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.low_dimensional import LowDimensional
from detente.games.presets.points import ring
from detente.networks.mlp import MLP
from detente.objectives.base import Objective
from detente.penalties.gradient_penalty import GradientPenalty

Point = tuple[Vectors, Buffers, Batch]


@dataclass(frozen=True)
class Relativistic(Objective):
    """Each real score is compared with one fake score, so that a sample's two calls depend on each other."""

    generator_needs_real = True

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        assert real is not None
        return softplus(real - fake).mean()


@dataclass(frozen=True)
class RelativisticAverage(Relativistic):
    """Each score is compared with the other side's mean, which mixes the samples."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()


class Scaled(nn.Module):
    """A bare parameter beside a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(2, 1), nn.Parameter(torch.tensor([0.7]))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.tanh(self.layer(x))


class Parts(nn.Module):
    """Linear layers that are not each called once, in order, with one 2-D input."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.first, self.inner, self.last = kind, nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.second = nn.Linear(4, 4)
        if kind == "one weight in two layers":
            self.second.weight = self.inner.weight

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        match self.kind:
            case "one layer called twice":
                h = self.second(torch.tanh(self.inner(torch.tanh(self.inner(h)))))
            case "one weight in two layers":
                h = self.second(torch.tanh(self.inner(h)))
            case "in another order":
                h = torch.tanh(self.inner(h * torch.tanh(self.second(h))))
            case "3-D input":
                h = torch.tanh(self.second(self.inner(h).unsqueeze(1))).squeeze(1)
            case "keyword":
                h = torch.tanh(self.second(input=self.inner(h)))
            case "mapped":
                h = torch.tanh(self.second(torch.func.vmap(self.inner)(h)))
        return self.last(torch.tanh(h))


class Decayed(Adversarial):
    """Parameters that enter a loss outside the networks."""

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        losses, buffers = super().losses(vectors, buffers, batch, players)
        return {name: loss + 1e-4 * vectors[name].square().sum() for name, loss in losses.items()}, buffers


def frozen(module: nn.Sequential, *names: str) -> nn.Sequential:
    for name in names:
        module.get_parameter(name).requires_grad_(False)
    return module


def gan(
    discriminator: Callable[[], nn.Module] | None = None,
    generator: Callable[[], nn.Module] | None = None,
    kind: type[Adversarial] = Adversarial,
    **options: Any,
) -> Adversarial:
    """Return a GAN of about a hundred numbers in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        first = generator() if generator else MLP(3, 2, 5, 2, "tanh")
        second = discriminator() if discriminator else MLP(2, 1, 4, 2, "tanh")
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return kind(first.double(), second.double(), data, 3, batch=6, **options)


def point(game: Game) -> Point:
    generator = torch.Generator().manual_seed(1)
    vectors, buffers = game.initial(generator)
    return vectors, buffers, {name: number.double() for name, number in game.draw(generator).items()}


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, affine=False), nn.Tanh(), nn.Linear(4, 1))


def deep(bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 4, bias=bias), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1, bias=bias))


HELD = {  # where every weight belongs to a linear layer and no sample sees another
    "non_saturating": lambda: gan(),
    "minimax": lambda: gan(objective="minimax"),
    "wasserstein": lambda: gan(objective="wasserstein"),
    "hinge": lambda: gan(objective="hinge"),
    "relativistic": lambda: gan(objective=Relativistic()),
    "relu": lambda: gan(lambda: MLP(2, 1, 4, 3), lambda: MLP(3, 2, 5, 3)),
    "leaky relu": lambda: gan(lambda: MLP(2, 1, 4, 3, "leaky_relu"), lambda: MLP(3, 2, 5, 3, "leaky_relu")),
    "linear discriminator": lambda: gan(lambda: nn.Linear(2, 1)),
    "no bias": lambda: gan(lambda: deep(bias=False)),
    "frozen layer": lambda: gan(lambda: frozen(deep(), "2.weight", "2.bias")),
    "frozen weight and frozen bias": lambda: gan(lambda: frozen(deep(), "0.bias", "2.weight")),
    "dropout": lambda: gan(lambda: nn.Sequential(nn.Linear(2, 8), nn.Dropout(), nn.Tanh(), nn.Linear(8, 1))),
    "layer normalisation": lambda: gan(
        lambda: nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Tanh(), nn.Linear(4, 1))
    ),
    "one layer called twice": lambda: gan(lambda: Parts("one layer called twice")),
    "in another order": lambda: gan(lambda: Parts("in another order")),
    "ring": lambda: ring(width=4, depth=2, latent=3, batch=8),
}
MIXED = {  # where the products by layers are wrong, as only the comparison with the graph can tell
    "batch norm": lambda: gan(normed),
    "gradient penalty": lambda: gan(penalties=GradientPenalty(2.0)),
    "relativistic average": lambda: gan(objective=RelativisticAverage()),
    "weight decay": lambda: gan(kind=Decayed),
}
UNHELD = {  # where a parameter belongs to no recorded call
    "no networks": lambda: LowDimensional("f3", start=(1.2, -0.7)),
    "bare parameter": lambda: gan(Scaled),
    "affine batch norm": lambda: gan(lambda: nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))),
    "spectral norm": lambda: gan(
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 4)), nn.Tanh(), nn.Linear(4, 1))
    ),
    **{
        kind: lambda kind=kind: gan(lambda: Parts(kind))
        for kind in ("one weight in two layers", "3-D input", "keyword", "mapped")
    },
}


@pytest.mark.parametrize(
    ("make", "verdicts"),
    [
        (make, verdicts)
        for games, verdicts in ((HELD, [True]), (MIXED, [False]), (UNHELD, []))
        for make in games.values()
    ],
    ids=[*HELD, *MIXED, *UNHELD],
)
def test_layered_and_row_by_row_jacobians_are_equal(
    make: Callable[[], Game], verdicts: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    game = make()
    at = point(game)
    n = sum(len(vector) for vector in at[0].values())
    expected = transposed_jacobian(game, *at)(torch.eye(n).to(at[0][game.players[0]]))
    results, check = [], dense_jacobian._is_jacobian

    def recording_check(dense: Tensor, rows: list[Tensor], columns: list[Tensor]) -> bool:
        results.append(check(dense, rows, columns))
        return results[-1]

    monkeypatch.setattr(dense_jacobian, "_is_jacobian", recording_check)
    random = torch.get_rng_state()
    dense = jacobian(game, *at, chunk=3)
    precision = 1e-10 if dense.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(dense, expected, rtol=precision, atol=precision * 1e-1)
    assert results == verdicts
    assert torch.equal(torch.get_rng_state(), random) and not hooks._global_forward_hooks
    assert not dense.requires_grad and not any(vector.requires_grad for vector in at[0].values())


def test_players_whose_vectors_share_a_storage() -> None:
    game = gan()
    vectors, buffers, batch = point(game)
    both = torch.cat([vectors[name] for name in game.players])
    shared = dict(zip(game.players, both.split([len(vectors[name]) for name in game.players]), strict=True))
    torch.testing.assert_close(
        jacobian(game, shared, buffers, batch), jacobian(game, vectors, buffers, batch), rtol=0, atol=0
    )


def test_hooks_are_removed_after_an_error() -> None:
    class Failing(Adversarial):
        def losses(self, *arguments: Any, **named: Any) -> tuple[dict[str, Tensor], Buffers]:
            if hooks._global_forward_hooks:
                raise RuntimeError("while calls are recorded")
            return super().losses(*arguments, **named)

    game = gan(kind=Failing)
    with pytest.raises(RuntimeError, match="while calls are recorded"):
        jacobian(game, *point(game))
    assert not hooks._global_forward_hooks


def test_nan_propagates() -> None:
    game = gan()
    vectors, buffers, batch = point(game)
    broken = {**vectors, "generator": vectors["generator"] * torch.nan}
    assert jacobian(game, broken, buffers, batch).isnan().any()
