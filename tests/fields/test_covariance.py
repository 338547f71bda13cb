"""The covariance of per-sample gradients equals loops over samples; games without one are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detente.autodiff import gradient_covariance, per_sample_gradients, player_gradient, through_layers
from detente.errors import InvalidValue
from detente.fields.covariance import Covariance
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.game import Batch, Buffers, Vectors
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.networks.spectral_norm import spectral_norm
from detente.optimizers.langevin import Langevin
from detente.optimizers.sgd import SGD
from detente.penalties.dragan import DRAGAN
from detente.penalties.gradient_penalty import GradientPenalty
from detente.schedules import Linear
from detente.schemes.simultaneous import Simultaneous
from detente.training.step import Steps, draw


class Doubled(nn.Module):
    """A layer that is called twice, and one without a bias that is tied to it in size only."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(2, 2), nn.Linear(2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.outside(torch.tanh(self.inside(torch.tanh(self.inside(x)))))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 1))


def convolved() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Conv1d(1, 3, 2), nn.Flatten(), nn.Tanh(), nn.Linear(3, 1))


def gan(make: Callable[[], nn.Module] = lambda: MLP(2, 1, 4, 2, "tanh"), **settings: Any) -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator, discriminator = MLP(3, 2, 4, 1, "tanh").double(), make().double()
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, data, 3, **{"batch": 5, **settings})


GAMES: dict[str, tuple[Callable[[], Adversarial], bool]] = {  # and whether linear layers are all there is
    "linear": (gan, True),
    "called twice": (lambda: gan(Doubled), True),
    "two strengths": (lambda: gan(filter=GaussianSmoothing((0.5, Linear(1, 0, 10)))), True),
    "zero-sum": (lambda: gan(objective="minimax"), True),
    "penalty": (lambda: gan(penalties=GradientPenalty()), False),
    "penalty, zero at first": (lambda: gan(last_zero, penalties=GradientPenalty()), False),
    "layer norm": (lambda: gan(normalised), False),
    "convolution": (lambda: gan(convolved), False),
    "spectral norm": (lambda: gan(lambda: nn.Sequential(spectral_norm(nn.Linear(2, 4)), nn.Linear(4, 1))), False),
    "frozen": (lambda: gan(half_frozen), True),
}
every_game = pytest.mark.parametrize("name", GAMES)


def last_zero() -> nn.Module:
    """Return a network for which a gradient penalty's gradient is initially zero."""
    network = MLP(2, 1, 4, 1, "tanh")
    nn.init.zeros_(network.layers[-1].weight)  # type: ignore[arg-type]
    return network


def half_frozen() -> nn.Module:
    network = MLP(2, 1, 4, 2, "tanh")
    network.layers[2].weight.requires_grad_(False)  # type: ignore[union-attr]
    return network


def point(game: Adversarial, seed: int = 0) -> tuple[Vectors, Buffers, Batch]:
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = game.initial(generator)
    vectors = {n: v + 0.3 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in vectors.items()}
    return vectors, buffers, game.draw(generator) | ({"t": torch.tensor(3)} if game.scheduled else {})


def one_by_one(game: Adversarial, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> np.ndarray:
    """Return each sample's gradient, computed on a batch of this sample only."""
    gradients = []
    for i in range(len(batch["real"])):
        alone = {name: tensor[i : i + 1] if tensor.dim() else tensor for name, tensor in batch.items()}
        gradients.append(player_gradient(game, player, vectors, buffers, alone).field[player].numpy())
    return np.stack(gradients)


@every_game
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_covariance_equals_numpy_on_per_sample_gradients(name: str, player: str) -> None:
    game = GAMES[name][0]()
    at = point(game)
    single = one_by_one(game, player, *at)
    np.testing.assert_allclose(per_sample_gradients(game, player, *at).numpy(), single, rtol=1e-9, atol=1e-12)
    expected = np.cov(single, rowvar=False)
    whole = player_gradient(game, player, *at)
    for full, expected_covariance in ((False, np.diag(expected)), (True, expected)):
        evaluation, covariance = gradient_covariance(game, player, *at, full)
        np.testing.assert_allclose(covariance.numpy(), expected_covariance, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(evaluation.field[player], whole.field[player], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(evaluation.losses, whole.losses, rtol=1e-12, atol=0)
        torch.testing.assert_close(evaluation.buffers, whole.buffers, rtol=1e-12, atol=0)
    assert np.diag(expected).max() > 1e-4, "samples differ"


@every_game
def test_layered_moments_are_used_where_they_apply(name: str) -> None:
    assert through_layers(GAMES[name][0](), "discriminator") == GAMES[name][1]


def test_covariance_of_a_batch_in_parts_equals_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are differentiated some at a time; their covariances about different means are combined."""
    game = gan(normalised, batch=21)
    at = point(game)
    single = one_by_one(game, "discriminator", *at)
    monkeypatch.setattr("detente.autodiff.per_sample.LARGEST_PART", 1)  # parts of eight samples
    for full, expected in ((False, single.var(0, ddof=1)), (True, np.cov(single, rowvar=False))):
        evaluation, covariance = gradient_covariance(game, "discriminator", *at, full)
        np.testing.assert_allclose(covariance.numpy(), expected, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(evaluation.field["discriminator"].numpy(), single.mean(0), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("average", ["running", "instantaneous"])
def test_the_running_average_equals_the_mean_of_all_covariances(kind: Any, average: Any) -> None:
    """I_t with κ_t = 1/t is the plain mean of V_1 … V_t, whatever I_0."""
    game, field = gan(), Covariance(kind=kind, average=average)
    vectors, buffers, _ = point(game)
    memory, covariances = field.initial(game, vectors, buffers), []
    for seed in range(4):
        batch = game.draw(torch.Generator().manual_seed(seed))
        evaluation, memory = field(game, vectors, buffers, batch, memory, ("discriminator",))
        assert set(evaluation.field) == {"discriminator"}
        covariances.append(gradient_covariance(game, "discriminator", vectors, buffers, batch, kind == "full")[1])
        expected = torch.stack(covariances).mean(0) if average == "running" else covariances[-1]
        torch.testing.assert_close(memory["covariance"]["discriminator"], expected, rtol=1e-12, atol=1e-15)
        variances = expected.diagonal() if kind == "full" else expected
        torch.testing.assert_close(evaluation.extra, {"noise_level": variances.mean().sqrt()}, rtol=1e-12, atol=0)
    assert int(memory["count"]["discriminator"]) == 4


def test_evaluations_of_other_players_are_not_counted() -> None:
    game, field = gan(), Covariance()
    vectors, buffers, batch = point(game)
    memory = field.initial(game, vectors, buffers)
    evaluation, after = field(game, vectors, buffers, batch, memory, ("generator",))
    assert evaluation.extra == {} and int(after["count"]["discriminator"]) == 0
    torch.testing.assert_close(after, memory, rtol=0, atol=0)
    evaluation, after = field(game, vectors, buffers, batch, memory, game.players)
    assert list(evaluation.field) == list(evaluation.losses) == list(game.players)
    torch.testing.assert_close(
        evaluation.field["generator"], player_gradient(game, "generator", vectors, buffers, batch).field["generator"]
    )


def test_both_players_each_have_a_noise_level() -> None:
    game, field = gan(), Covariance(("generator", "discriminator"))
    vectors, buffers, batch = point(game)
    evaluation, memory = field(game, vectors, buffers, batch, field.initial(game, vectors, buffers), game.players)
    assert set(evaluation.extra) == {"noise_level_generator", "noise_level_discriminator"}
    for name in game.players:
        expected = gradient_covariance(game, name, vectors, buffers, batch)[1]
        torch.testing.assert_close(memory["covariance"][name], expected)


def test_the_prior_adds_weight_decay_to_the_named_players() -> None:
    game = gan()
    vectors, buffers, batch = point(game)
    results = []
    for prior in (0.0, 0.7):
        field = Covariance(prior=prior)
        results.append(field(game, vectors, buffers, batch, field.initial(game, vectors, buffers), game.players))
    (plain, before), (pulled, after) = results
    torch.testing.assert_close(
        pulled.field["discriminator"] - plain.field["discriminator"], 0.7 * vectors["discriminator"]
    )
    torch.testing.assert_close(pulled.field["generator"], plain.field["generator"], rtol=0, atol=0)
    torch.testing.assert_close((pulled.losses, after), (plain.losses, before), rtol=0, atol=0)


def normed(size: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(2, size), nn.BatchNorm1d(size), nn.Linear(size, 1))


class Centred(nn.Module):
    """A layer of the user's own that mixes samples."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


REFUSED: dict[str, tuple[Callable[[], Any], Covariance, str]] = {
    "batch norm": (lambda: gan(normed), Covariance(), "discriminator: got 'BatchNorm1d'"),
    "a layer of one's own": (
        lambda: gan(lambda: nn.Sequential(Centred(), nn.Linear(2, 1))),
        Covariance(),
        "game: .*mix",
    ),
    "a penalty that mixes": (lambda: gan(penalties=DRAGAN()), Covariance(), "game: .*mix"),
    "dropout": (lambda: gan(lambda: nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))), Covariance(), "game: .*dropout"),
    "no samples": (DiracGAN, Covariance(), "game: got 'DiracGAN'.*samples"),
    "one sample": (lambda: gan(batch=1), Covariance(), "batch: .*at least 2"),
    "unknown player": (gan, Covariance(("x",)), "players: .*generator, discriminator"),
    "too many": (lambda: gan(lambda: MLP(2, 1, 150, 2)), Covariance(kind="full"), "kind: got 'full'.*23251"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_games_without_a_per_sample_covariance_are_refused(name: str) -> None:
    make, field, message = REFUSED[name]
    with pytest.raises(InvalidValue, match=message):
        field.check(make())


def test_frozen_statistics_do_not_mix() -> None:
    network = normed()
    network[1].eval()  # type: ignore[index]
    Covariance().check(gan(lambda: network))


def test_missing_and_duplicate_players_are_refused() -> None:
    for players in ((), ("discriminator", "discriminator")):
        with pytest.raises(InvalidValue, match="players"):
            Covariance(players)


@pytest.mark.parametrize("name", ["linear", "layer norm"])
@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_mapped_and_traced_steps_equal_the_loop(name: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By way of the layers, and sample by sample."""
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # inductor takes seconds a graph
    game = GAMES[name][0]()
    play = Method(Covariance(kind=kind), Simultaneous(), {"generator": SGD(0.05), "discriminator": Langevin(0.05)})

    def after(**how: bool) -> tuple[list[dict], list[dict]]:
        states, draws = [], []
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            states.append(play.initial(game, generator))
            draws.append([draw(game, play, states[-1], generator)])
        steps = Steps(game, play, **how)
        final, infos = steps(states, draws)
        assert steps.fallback_reason == ""
        return [state.flat() for state in final], [info.tree() for info in infos]

    eager = after()
    assert eager[1][0]["extra"]["noise_level"].shape == (1,)
    for how in ({"mapped": True}, {"compiled": True}, {"mapped": True, "compiled": True}):
        torch.testing.assert_close(after(**how), eager, rtol=1e-8, atol=1e-10)
