"""Every method on games of networks: the same bits as `Adversarial`, and exact second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, softplus

from detente import methods
from detente.autodiff import jacobian, vector_field
from detente.errors import InvalidValue
from detente.fields.consensus import Consensus
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.methods.method import Method
from detente.training.stepper import Stepper

FINITE_SUMS = {name for name in methods.names() if name.startswith("svr")} | {"full_batch"}


def modules(norm: bool) -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = nn.BatchNorm1d(6) if norm else nn.Tanh()
        generator = nn.Sequential(nn.Linear(3, 6), middle, nn.Tanh(), nn.Linear(6, 2))
        return {
            "generator": generator,
            "discriminator": nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)),
        }


@cache
def pair(norm: bool) -> tuple[Adversarial, Networks]:
    """Return a GAN, and the same game as networks with losses."""
    points, players = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)), modules(norm)
    objective = "non_saturating" if norm else "minimax"
    gan = Adversarial(players["generator"], players["discriminator"], points, 3, objective, batch=4)

    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        fake = net.discriminator(net.generator(batch["latent"])).flatten()
        real = net.discriminator(batch["real"]).flatten()
        loss = gan.objective
        return {"generator": loss.generator_loss(real, fake), "discriminator": loss.discriminator_loss(real, fake)}

    return gan, Networks(players, losses, gan.draw, batch=4, zero_sum=not norm)


# With batch norm, these use exact derivatives of one order more for losses of one's own: equal up to rounding.
SECOND_ORDER = {"consensus", "smoothing", "symplectic_adjustment", "unrolled"}
PLAYED = [
    (name, norm) for name in sorted(methods.names()) for norm in (False, True) if not norm or name not in SECOND_ORDER
]


@pytest.mark.parametrize(("name", "norm"), PLAYED)
def test_a_gan_as_networks_equals_adversarial_bit_for_bit(name: str, norm: bool) -> None:
    gan, networks = pair(norm)
    results, refusals = [], []
    for game in (gan, networks):
        try:
            stepper = Stepper(game, methods.names()[name]())
        except InvalidValue as error:
            refusals.append((error.field, str(error.value).replace("Networks", "Adversarial")))
            continue
        infos = [stepper.step() for _ in range(3)]
        results.append({**stepper.state.flat(), **infos[-1].losses})
    if refusals:
        assert len(refusals) == 2 and refusals[0] == refusals[1]
        assert norm or name in FINITE_SUMS
    else:
        torch.testing.assert_close(results[1], results[0], rtol=0, atol=0, equal_nan=True)


class Plain(Game):
    """The games of `CASES`, written as a game of vectors, with torch's own functions and no module of détente."""

    def __init__(self, networks: Networks, losses: Callable[..., dict[str, Tensor]]) -> None:
        self.networks, self.functions, self.batch = networks, losses, 4

    @property
    def players(self) -> tuple[str, ...]:
        return self.networks.players

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        vectors, _ = self.networks.initial(generator)
        return vectors, {}

    def draw(self, generator: torch.Generator) -> Batch:
        return self.networks.draw(generator)

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        losses = self.functions(vectors, batch)
        return {name: losses[name] for name in players or self.players}, buffers


def affine(vector: Tensor, x: Tensor, shapes: tuple[tuple[int, int], ...], norm: Any = None) -> Tensor:
    """Return a network of linear layers with tanh, as torch.nn stores them in a vector: weight, bias, and so on."""
    at = 0
    for index, (n_out, n_in) in enumerate(shapes):
        weight, at = vector[at : at + n_out * n_in].view(n_out, n_in), at + n_out * n_in
        x, at = x @ weight.T + vector[at : at + n_out], at + n_out
        if index < len(shapes) - 1:
            x = torch.tanh(norm(x) if norm else x)
    return x


SHAPES = {"first": ((4, 3), (2, 4)), "second": ((4, 2), (1, 4))}


def batch_norm(x: Tensor) -> Tensor:
    """Return x after batch norm without parameters, written out."""
    centred = x - x.mean(0)
    return centred / (centred.square().mean(0) + 1e-5).sqrt()


def network(player: str, norm: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(len(player))
        (hidden, n_in), (out, _) = SHAPES[player]
        middle = [nn.BatchNorm1d(hidden, affine=False, track_running_stats=False)] if norm else []
        return nn.Sequential(nn.Linear(n_in, hidden), *middle, nn.Tanh(), nn.Linear(hidden, out)).double()


def games(norm: bool) -> tuple[Networks, Plain]:
    """Return a game with a gradient penalty and a frozen function with layer norm, in both forms."""
    normalize = batch_norm if norm else None

    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        y = net.first(batch["z"])
        fake, real = net.second(y), net.second(batch["x"])
        return {
            "first": {"fool": lambda: softplus(-fake).mean(), "look": lambda: net.look(y).pow(3).mean()},
            "second": {
                "scores": softplus(fake).mean() + softplus(-real).mean(),
                "penalty": net.second.slope(y).square().mean(),
            },
        }

    def by_hand(vectors: Vectors, batch: Batch) -> dict[str, Tensor]:
        score = lambda x: affine(vectors["second"], x, SHAPES["second"], normalize)  # noqa: E731
        y = affine(vectors["first"], batch["z"], SHAPES["first"], normalize)
        centred = y - y.mean(1, keepdim=True)
        normalised = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        with torch.enable_grad():
            at = y if y.requires_grad else y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(score(at).sum(), at, create_graph=True)
        fake, real = score(y), score(batch["x"])
        return {
            "first": softplus(-fake).mean() + normalised.pow(3).mean(),
            "second": softplus(fake).mean() + softplus(-real).mean() + slope.square().sum(1).mean(),
        }

    generator = torch.Generator().manual_seed(0)
    data = {name: torch.randn(12, n, generator=generator, dtype=torch.float64) for name, n in (("x", 2), ("z", 3))}
    players = {name: network(name, norm) for name in SHAPES}
    networks = Networks(players, losses, data, batch=5, frozen={"look": lambda y: layer_norm(y, (2,))})
    return networks, Plain(networks, by_hand)


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
def test_field_jacobian_and_consensus_equal_those_of_the_game_of_vectors(norm: bool) -> None:
    """No player's output is cut from the graph, and torch's fused layers have right third derivatives."""
    networks, plain = games(norm)
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = networks.initial(generator)
    batch = {**networks.draw(generator), "t": torch.zeros((), dtype=torch.int64)}
    for name, block in vector_field(networks, vectors, buffers, batch).field.items():
        torch.testing.assert_close(block, vector_field(plain, vectors, {}, batch).field[name], rtol=1e-9, atol=1e-11)
    first, second = jacobian(networks, vectors, buffers, batch), jacobian(plain, vectors, {}, batch)
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)
    start = len(vectors["first"])
    assert second[:start, start:].abs().max() > 1e-3 and second[start:, :start].abs().max() > 1e-3
    field = Consensus(2.0)
    (actual, _), (expected, _) = (field(g, vectors, buffers, batch, {}, g.players) for g in (networks, plain))
    torch.testing.assert_close(actual.field, expected.field, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["simultaneous", "alternating", "consensus", "extragradient", "symplectic_adjustment"])
def test_methods_for_any_players_equal_those_on_the_game_of_vectors(name: str) -> None:
    steppers = [Stepper(game, methods.names()[name]()) for game in games(False)]
    for _ in range(4):
        for stepper in steppers:
            stepper.step()
    first, second = (stepper.state.vectors for stepper in steppers)
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # inductor's own
def test_mapped_and_compiled_steps_equal_eager_ones() -> None:
    from detente.optimizers.adam import Adam
    from detente.schemes.alternating import Alternating
    from detente.training.step import Steps, draw

    networks, _ = games(False)
    assert networks.traceable
    method = Method(Consensus(0.5), Alternating(), Adam(0.01))
    for options in ({"mapped": True}, {"compiled": True}):
        states, draws = [], []
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            states.append(method.initial(networks, generator))
            draws.append([draw(networks, method, states[-1], generator) for _ in range(2)])
        steps = Steps(networks, method, **options)
        after, infos = steps(states, draws)
        assert not steps.fallback_reason
        expected, expected_infos = Steps(networks, method)(states, draws)
        for seed in range(2):
            torch.testing.assert_close(after[seed].flat(), expected[seed].flat(), rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(infos[seed].terms, expected_infos[seed].terms, rtol=1e-8, atol=1e-10)
