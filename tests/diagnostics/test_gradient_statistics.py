"""Gradient statistics against a game whose noise is known, and against per-sample gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from detente.autodiff import per_sample_gradients
from detente.diagnostics.gradient_statistics import gradient_statistics
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.presets.points import ring
from detente.games.quadratic import Bilinear
from detente.games.stochastic_bilinear import StochasticBilinear
from detente.state import State


class Noisy(Game):
    """One player whose gradient is `mean` plus noise of unit variance in each of 50 coordinates, over a batch of 4."""

    batch = 4

    def __init__(self, mean: float) -> None:
        self.mean = mean

    @property
    def players(self) -> tuple[str, ...]:
        return ("only",)

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        return {"only": torch.ones(50)}, {}

    def draw(self, generator: torch.Generator) -> Batch:
        return {"noise": torch.randn(4, 50, generator=generator)}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        return {"only": ((self.mean + batch["noise"].mean(0)) * vectors["only"]).sum()}, buffers


def start(game: Game) -> State:
    return State(torch.zeros((), dtype=torch.int64), *game.initial(torch.Generator().manual_seed(0)))


def test_known_signal_and_noise() -> None:
    """Tr Cov = 50/4, |g|² = 50·0.09, tr(Σ)/|g|² = 1/0.09."""
    statistics = gradient_statistics(Noisy(0.3), start(Noisy(0.3)), torch.Generator().manual_seed(1), 2000)["only"]
    assert statistics.variance == pytest.approx(12.5, rel=0.03)
    assert statistics.norm == pytest.approx(0.3 * math.sqrt(50), rel=0.03)
    assert statistics.signal_to_noise == pytest.approx(math.sqrt(0.09 * 4), rel=0.03)
    assert statistics.noise_scale == pytest.approx(1 / 0.09, rel=0.05)
    assert statistics.cosine == pytest.approx(4.5 / 17, rel=0.05)


def test_pure_noise_shows_no_signal_on_average() -> None:
    generator = torch.Generator().manual_seed(2)
    ratios = [gradient_statistics(Noisy(0.0), start(Noisy(0.0)), generator, 8)["only"] for _ in range(40)]
    assert sum(statistics.signal_to_noise == 0 for statistics in ratios) > 10
    assert all(math.isinf(statistics.noise_scale) for statistics in ratios if statistics.signal_to_noise == 0)
    assert abs(sum(statistics.cosine for statistics in ratios) / 40) < 0.05


def test_a_deterministic_game_has_no_noise() -> None:
    game = Bilinear(dimension=4)
    statistics = gradient_statistics(game, start(game), torch.Generator())["x"]
    assert (statistics.variance, statistics.signal_to_noise, statistics.noise_scale) == (0.0, math.inf, 0.0)
    assert statistics.norm == pytest.approx(float(start(game).vectors["y"].norm()))
    assert statistics.cosine == pytest.approx(1.0)


def test_noise_scale_equals_that_of_per_sample_gradients() -> None:
    game = ring(width=8, depth=2, batch=64)
    state, generator = start(game), torch.Generator().manual_seed(0)
    statistics = gradient_statistics(game, state, generator, 200)["generator"]
    single = per_sample_gradients(game, "generator", state.vectors, state.buffers, ring(batch=20_000).draw(generator))
    mean, deviations = single.mean(0), single - single.mean(0)
    expected = float(deviations.square().sum(1).mean() / mean.square().sum())
    assert statistics.noise_scale == pytest.approx(expected, rel=0.15)


def test_statistics_change_no_state() -> None:
    game = ring(width=4, depth=1, batch=8)
    state = start(game)
    before, rng = {name: tensor.clone() for name, tensor in state.flat().items()}, torch.get_rng_state()
    gradient_statistics(game, state, torch.Generator().manual_seed(0), 3)
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in state.flat().items())


def test_arguments_are_checked() -> None:
    with pytest.raises(InvalidValue, match="batches"):
        gradient_statistics(Bilinear(), start(Bilinear()), torch.Generator(), batches=1)
    with pytest.raises(InvalidValue, match="batch_size"):
        gradient_statistics(Bilinear(), start(Bilinear()), torch.Generator(), batch_size=0)


class Watched(Noisy):
    """The noisy game, with as many samples in a batch as `batch` says, which records how many its losses get."""

    def __init__(self) -> None:
        super().__init__(0.3)
        self.sizes: list[int] = []

    def draw(self, generator: torch.Generator) -> Batch:
        return {"noise": torch.randn(self.batch, 50, generator=generator)}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        self.sizes.append(len(batch["noise"]))
        return super().losses(vectors, buffers, batch, players)


@pytest.mark.parametrize("size", [1, 4, 64])
def test_batches_have_the_requested_size(size: int) -> None:
    """Tr Cov = 50/B, tr(Σ)/|g|² = 1/0.09 whatever B."""
    game = Watched()
    statistics = gradient_statistics(game, start(game), torch.Generator().manual_seed(1), 2000, size)["only"]
    assert game.sizes == [size] * 2000 and game.batch == 4
    assert statistics.variance == pytest.approx(50 / size, rel=0.05)
    assert statistics.noise_scale == pytest.approx(1 / 0.09, rel=0.1)


@pytest.mark.parametrize("size", [1, 5, 64])
def test_statistics_equal_those_of_a_game_with_that_batch_size(size: int) -> None:
    """The gradients are those of a game with that batch, from the same generator."""
    builds = lambda batch: ring(width=4, depth=1, batch=batch), lambda batch: StochasticBilinear(80, batch)  # noqa: E731
    for build in builds:
        game, other = build(8), build(size)
        at = start(game)
        statistics = gradient_statistics(game, at, torch.Generator().manual_seed(3), 6, size)
        assert statistics == gradient_statistics(other, at, torch.Generator().manual_seed(3), 6)
        assert game.batch == 8


def test_impossible_batch_sizes_are_refused() -> None:
    gan = Adversarial(nn.Linear(2, 2), nn.Linear(2, 1), torch.randn(20, 2), 2, batch=4)
    for game, size in ((gan, 21), (StochasticBilinear(10), 11), (Noisy(0.3), 64)):
        with pytest.raises(InvalidValue, match=f"^batch_size: got {size}; allowed: "):
            gradient_statistics(game, start(game), torch.Generator(), batch_size=size)
    assert gradient_statistics(Noisy(0.3), start(Noisy(0.3)), torch.Generator(), batch_size=4)
