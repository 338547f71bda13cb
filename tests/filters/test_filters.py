"""Filters against SciPy and closed forms; all samples of a discriminator go through the same filter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from detente import methods
from detente.errors import InvalidValue
from detente.filters.base import Filter
from detente.filters.gaussian_blur import GaussianBlur
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.game import Batch
from detente.games.adversarial import Adversarial
from detente.networks.mlp import MLP
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.schedules import Linear
from detente.training.step import Steps, draw


def pictures(height: int = 12, width: int = 9) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.5, 4.5])
def test_blur_equals_scipy_with_mirrored_edges(strength: float) -> None:
    expected = gaussian_filter(pictures().numpy(), (0, 0, strength, strength), mode="reflect", truncate=8)
    torch.testing.assert_close(
        GaussianBlur()(pictures(), {}, strength), torch.from_numpy(expected), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strength", [0.0, 1e-9, torch.zeros(())])
def test_width_zero_changes_nothing(strength: Any, dtype: torch.dtype) -> None:
    same = GaussianBlur()(pictures().to(dtype), {}, strength)
    torch.testing.assert_close(same, pictures().to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("strength", [0.5, 2.0, 6.0])
def test_blur_keeps_the_mean_and_reduces_the_contrast(strength: float) -> None:
    blurred = GaussianBlur()(pictures(), {}, strength)
    torch.testing.assert_close(blurred.mean((2, 3)), pictures().mean((2, 3)), rtol=0, atol=1e-9)
    assert bool((blurred.var((2, 3)) < pictures().var((2, 3))).all())


def test_smoothing_adds_the_variance_of_its_gaussian() -> None:
    """The convolution of N(0, 4) with N(0, λ²) is N(0, 4 + λ²)."""
    filter, generator = GaussianSmoothing(1.5), torch.Generator().manual_seed(0)
    samples = 2 * torch.randn(100_000, 2, generator=generator)
    moved = filter(samples, filter.draw(samples.shape, generator), 1.5)
    torch.testing.assert_close(moved.T.cov(), (4 + 1.5**2) * torch.eye(2), rtol=0.01, atol=0.06)
    noise = filter.draw(torch.Size((5, 2)), generator)
    torch.testing.assert_close(filter(samples[:5], noise, 0.0), samples[:5], rtol=0, atol=0)
    torch.testing.assert_close(filter(samples[:5], noise, 0.5), samples[:5] + 0.5 * noise["noise"], rtol=0, atol=0)


def gan(
    filter: Filter | None = None, images: bool = False, discriminator: nn.Module | None = None, **settings: Any
) -> Adversarial:
    """Return a game of points or of 4 by 4 pictures, in float64."""
    shape, size = ((1, 4, 4), 16) if images else ((2,), 2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Sequential(MLP(3, size, 4, 1, "tanh"), nn.Unflatten(1, shape)).double()
        discriminator = (discriminator or nn.Sequential(nn.Flatten(), MLP(size, 1, 4, 1, "tanh"))).double()
    data = 2 * torch.rand(16, *shape, generator=torch.Generator().manual_seed(0)) - 1
    return Adversarial(generator, discriminator, data, 3, batch=5, filter=filter, **settings)


def drawn(game: Adversarial) -> tuple[Any, Any, Batch]:
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    return vectors, buffers, game.draw(generator)


@pytest.mark.parametrize(("filter", "images"), [(GaussianSmoothing(0.7), False), (GaussianBlur(0.9), True)])
@pytest.mark.parametrize("objective", ["non_saturating", "minimax"])
def test_real_and_generated_samples_go_through_the_same_filter(filter: Any, images: bool, objective: str) -> None:
    game = gan(filter, images, objective=objective)
    vectors, buffers, batch = drawn(game)
    generator, discriminator = (game.modules[name] for name in game.players)
    with torch.no_grad():
        fake, real = generator(batch["latent"].double()), batch["real"].double()
        noise = [{k.rpartition(".")[2]: n for k, n in batch.items() if f"filter.{w}." in k} for w in ("real", "fake")]
        filtered = [filter(x, tensors, filter.strengths) for x, tensors in zip((real, fake), noise, strict=True)]
        scores = [discriminator(x).reshape(-1) for x in filtered]
    losses, _ = game.losses(vectors, buffers, batch)
    torch.testing.assert_close(losses["discriminator"], game.objective.discriminator_loss(*scores))
    torch.testing.assert_close(losses["generator"], game.objective.generator_loss(*scores))
    assert not torch.equal(filtered[0], real)


def test_real_and_generated_samples_get_independent_noise() -> None:
    game = gan(GaussianSmoothing(0.7))
    batch = drawn(game)[2]
    first, second = batch["filter.real.noise"], batch["filter.fake.noise"]
    assert first.shape == second.shape == (5, 2) and not torch.equal(first, second)
    assert "GaussianSmoothing" in game.randomness
    assert gan(GaussianBlur(), True).randomness == gan().randomness == ""
    whole = game.complete(torch.zeros(3, 2), torch.Generator().manual_seed(0))
    assert whole["filter.real.noise"].shape == (3, 2), "batches of the user's own too"


@pytest.mark.parametrize(("filter", "images"), [(GaussianSmoothing(0.0), False), (GaussianBlur(0.0), True)])
def test_strength_zero_changes_nothing(filter: Any, images: bool) -> None:
    plain, filtered = gan(images=images, penalties=R1()), gan(filter, images, penalties=R1())
    vectors, buffers, batch = drawn(filtered)
    expected = plain.losses(vectors, buffers, batch)
    torch.testing.assert_close(filtered.losses(vectors, buffers, batch), expected, rtol=0, atol=0)


def test_penalties_are_computed_through_the_filter() -> None:
    """Of D(x) = ⟨w, x⟩ seen through x ↦ K x Kᵀ, the slope is K w Kᵀ and not w."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    weights = [gan(GaussianBlur(1.3), True, linear, penalties=p) for p in ((), R1(2.0))]
    vectors, buffers, batch = drawn(weights[0])
    loss, penalised = (game.losses(vectors, buffers, batch)[0]["discriminator"] for game in weights)
    slope = GaussianBlur()(vectors["discriminator"][:16].reshape(1, 1, 4, 4), {}, 1.3)
    torch.testing.assert_close(penalised - loss, slope.square().sum())


def test_several_strengths_are_averaged() -> None:
    """Also the penalties' terms, and with the same noise."""
    settings: dict[str, Any] = {"penalties": GradientPenalty(2.0), "objective": "relativistic"}
    several = gan(GaussianSmoothing((0.1, 0.5, 1.5)), **settings)
    vectors, buffers, batch = drawn(several)
    single = [gan(GaussianSmoothing(s), **settings).losses(vectors, buffers, batch)[0] for s in (0.1, 0.5, 1.5)]
    losses, _ = several.losses(vectors, buffers, batch)
    for name in several.players:
        torch.testing.assert_close(losses[name], sum(values[name] for values in single) / 3)
    assert list(several.losses(vectors, buffers, batch, ("generator",))[0]) == ["generator"]


def test_a_schedule_reads_the_step() -> None:
    game = gan(GaussianSmoothing(Linear(2.0, 0.5, 10)))
    assert game.scheduled and not gan(GaussianSmoothing(0.5)).scheduled and not gan().scheduled
    vectors, buffers, batch = drawn(game)
    for t, strength in ((0, 2.0), (5, 1.25), (12, 0.5)):
        expected = gan(GaussianSmoothing(strength)).losses(vectors, buffers, batch)
        torch.testing.assert_close(game.losses(vectors, buffers, {**batch, "t": torch.tensor(t)}), expected)
    with pytest.raises(InvalidValue, match="batch: .*'t'"):
        game.losses(vectors, buffers, batch)


def test_training_evaluates_the_filters_schedule_at_the_current_step() -> None:
    """A step at t = 4 is one with the strength that the schedule has there."""
    play = methods.alternating("sgd")
    vectors = []
    for strength in (Linear(2.0, 0.0, 8), 1.0):
        game = gan(GaussianSmoothing(strength))
        generator = torch.Generator().manual_seed(0)
        state = replace(play.initial(game, generator), t=torch.tensor(4))
        drawn_batches = draw(game, play, state, generator)
        vectors.append(play.step(game, state, drawn_batches.batches, drawn_batches.noise)[0].vectors)
    torch.testing.assert_close(*vectors)


def test_blur_is_for_images_alone() -> None:
    with pytest.raises(InvalidValue, match="filter: .*GaussianBlur.*gaussian_smoothing"):
        gan(GaussianBlur())


@pytest.mark.parametrize("strengths", [-1.0, float("inf"), (), (0.1, float("nan")), (0.1, -0.1)])
@pytest.mark.parametrize("member", [GaussianBlur, GaussianSmoothing])
def test_strengths_are_finite_and_not_negative(member: Any, strengths: Any) -> None:
    with pytest.raises(InvalidValue, match="strengths"):
        member(strengths)


@pytest.mark.parametrize(
    ("filter", "images"),
    [(GaussianSmoothing((0.5, Linear(1.0, 0.0, 3))), False), (GaussianBlur(Linear(1.0, 0.0, 3)), True)],
)
def test_mapped_and_traced_steps_equal_the_loop(filter: Any, images: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # inductor takes seconds a graph
    game, play = gan(filter, images), methods.alternating("sgd", 0.05)

    def after(**how: bool) -> list[dict[str, Tensor]]:
        states, draws = [], []
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            states.append(replace(play.initial(game, generator), t=torch.tensor(seed + 1)))
            draws.append([draw(game, play, states[-1], generator)])
        steps = Steps(game, play, **how)
        final, _ = steps(states, draws)
        assert steps.fallback_reason == ""
        return [state.flat() for state in final]

    eager = after()
    for how in ({"mapped": True}, {"compiled": True, "mapped": True}):
        torch.testing.assert_close(after(**how), eager, rtol=1e-9, atol=1e-11)
