"""Averages of iterates: against running means by hand, buffers with them, and training that does not depend on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.schedules.linear import Linear
from detente.schemes.alternating import Alternating
from detente.schemes.averaging import Averaging
from detente.schemes.lookahead import Lookahead
from detente.state import State
from detente.training.step import draw
from detente.training.stepper import Stepper


def walk(game: Game, method: Method, steps: int, seed: int = 0) -> list[State]:
    generator = torch.Generator().manual_seed(seed)
    states = [method.initial(game, generator)]
    for _ in range(steps):
        drawn = draw(game, method, states[-1], generator)
        states.append(method.step(game, states[-1], drawn.batches, drawn.noise)[0])
    return states


def same(first: object, second: object, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


def gan(kind: torch.dtype = torch.float64) -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        discriminator = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Linear(4, 1))
    points = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator.to(kind), discriminator.to(kind), points, 3, batch=4)


def averaging(**settings: Any) -> Method:
    return Method(Gradient(), Averaging(Alternating(), **settings), Adam(0.02))


def flat(state: State, player: str) -> dict[str, Tensor]:
    """Return everything of one player: its vector and its buffers."""
    return {"vector": state.vectors[player], **state.buffers[player]}


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("kind", ["exponential", "uniform"])
def test_averages_equal_running_means_by_hand(kind: str, start: int) -> None:
    game, method = gan(), averaging(kind=kind, decay=0.9, start=start)
    states = walk(game, method, 9)
    taken: list[dict[str, Tensor]] = []
    for t, state in enumerate(states):
        latest = flat(state, "generator")
        taken = [*(taken if t > start else []), latest]
        if kind == "uniform":
            expected = {name: sum(tensors[name].double() for tensors in taken) / len(taken) for name in latest}
        else:
            expected = dict(taken[0])
            for tensors in taken[1:]:
                expected = {name: 0.9 * expected[name].double() + 0.1 * tensors[name].double() for name in expected}
        expected["1.num_batches_tracked"] = latest["1.num_batches_tracked"]
        shown = method.scheme.eval_state(state)
        same(flat(shown, "generator"), expected, 1e-13)
        same(flat(shown, "discriminator"), flat(state, "discriminator"))
        assert shown.memory is state.memory and shown.t is state.t
    moved = flat(method.scheme.eval_state(states[-1]), "generator"), flat(states[-1], "generator")
    assert all(not torch.equal(moved[0][name], moved[1][name]) for name in ("vector", "1.running_mean"))
    assert int(moved[0]["1.num_batches_tracked"]) > 9


def test_training_does_not_depend_on_the_average() -> None:
    game, method = gan(), averaging(players=("generator", "discriminator"), kind="uniform")
    plain = walk(game, replace(method, scheme=Alternating()), 5)
    for averaged, other in zip(walk(game, method, 5), plain, strict=True):
        same(
            [averaged.vectors, averaged.buffers, averaged.memory["optimizers"]],
            [other.vectors, other.buffers, other.memory["optimizers"]],
        )


def test_the_uniform_average_converges_where_alternating_descent_cycles() -> None:
    """Alternating gradients stay on a closed curve of the bilinear game; their mean nears the middle like 1/n."""
    scheme = Averaging(Alternating(), "uniform", players=("x", "y"))
    states = walk(Bilinear(start=(1.0, 0.0)), Method(Gradient(), scheme, SGD(0.3)), 800)

    def length(vectors: dict[str, Tensor]) -> float:
        return float(torch.cat([vectors["x"], vectors["y"]]).norm())

    circled = [length(state.vectors) for state in states]
    assert min(circled) > 0.8 and max(circled) < 1.3
    for count in (100, 400, 800):
        mean = scheme.eval_state(states[count]).vectors
        path = np.stack([torch.cat([s.vectors["x"], s.vectors["y"]]).numpy() for s in states[: count + 1]])
        np.testing.assert_allclose(torch.cat([mean["x"], mean["y"]]).numpy(), path.mean(0), rtol=1e-9, atol=1e-13)
        assert length(mean) < 6 / count


def test_float32_averages_have_float32_accuracy() -> None:
    states = walk(gan(torch.float32), method := averaging(decay=0.999), 30)
    expected = states[0].vectors["generator"].double()
    for state in states[1:]:
        expected = 0.999 * expected + 0.001 * state.vectors["generator"].double()
    average = method.scheme.eval_state(states[-1]).vectors["generator"]
    assert average.dtype == torch.float32
    same(average, expected.float(), 1e-6)


def test_averages_can_be_nested() -> None:
    """A separate average for each player, around lookahead; no step overwrites tensors of an average."""
    game = gan()
    inner = Averaging(Lookahead(Alternating(), 2), decay=0.8, players=("discriminator",))
    method = Method(Gradient(), Averaging(inner, "uniform", players=("generator",)), Adam(0.02))
    states = walk(game, method, 5)
    plain = walk(game, Method(Gradient(), Lookahead(Alternating(), 2), Adam(0.02)), 5)
    same(states[-1].vectors, plain[-1].vectors)
    shown = method.scheme.eval_state(states[-1])
    uniform = torch.stack([state.vectors["generator"] for state in plain]).mean(0)
    same(shown.vectors["generator"], uniform, 1e-13)
    expected = plain[0].buffers["discriminator"]["1.running_var"]
    for state in plain[1:]:
        expected = 0.8 * expected + 0.2 * state.buffers["discriminator"]["1.running_var"]
    same(shown.buffers["discriminator"]["1.running_var"], expected, 1e-13)


def test_samples_and_modules_use_the_averages() -> None:
    game = gan()
    stepper = Stepper(game, averaging(decay=0.5))
    for _ in range(6):
        stepper.step()
    state, latents = stepper.state, torch.randn(32, 3, generator=torch.Generator().manual_seed(2))
    generator, _ = stepper.modules()
    shown = game.generate(stepper.method.scheme.eval_state(state), latents)
    same(generator(latents.double()), shown, 1e-12)
    assert float((shown - game.generate(state, latents)).norm()) > 0.01


def test_unknown_players_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"players: got \('generator',\); allowed: one or more of x, y"):
        methods.averaged().check(Bilinear())
    with pytest.raises(InvalidValue, match="players"):
        averaging(players=()).check(gan())
    with pytest.raises(InvalidValue, match="decay: got 1"):
        Averaging(Alternating(), decay=1.0)


def test_the_published_method() -> None:
    assert methods.averaged(0.99, "uniform", 3, "sgd", 0.1, 2) == Method(
        Gradient(), Averaging(Alternating(turns={"discriminator": 2}), "uniform", 0.99, ("generator",), 3), SGD(0.1)
    )


def test_an_average_starts_as_a_copy() -> None:
    """A network without buffers has an average without buffers, and an average is never the tensor itself."""
    network = MLP(3, 2, 4, 1).double()
    game = Adversarial(network, MLP(2, 1, 4, 1).double(), torch.randn(8, 2, generator=torch.Generator()), 3, batch=4)
    state = averaging().initial(game, torch.Generator())
    assert state.memory["scheme"]["buffers"] == {"generator": {}}
    average = state.memory["scheme"]["vectors"]["generator"]
    assert torch.equal(average, state.vectors["generator"]) and average is not state.vectors["generator"]
    assert average.data_ptr() != state.vectors["generator"].data_ptr()


def test_half_life_and_ramp_up_equal_stylegan2_and_edm() -> None:
    """The line of `training_loop.py`, counted in images: batch 4, half-life 40 images, ramp-up 0.5."""
    game, method = gan(), averaging(half_life=10.0, ramp_up=0.5)
    states = walk(game, method, 30)
    expected, images = states[0].vectors["generator"], 0
    for state in states[1:]:
        half_life = min(40, images * 0.5)
        beta = 0.5 ** (4 / max(half_life, 1e-8))
        expected = state.vectors["generator"].lerp(expected, beta)
        images += 4
    same(method.scheme.eval_state(states[-1]).vectors["generator"], expected, 1e-12)

    plain = averaging(half_life=10.0)
    average = plain.scheme.eval_state(walk(game, plain, 12)[-1]).vectors["generator"]
    decay = averaging(decay=0.5**0.1)
    same(average, decay.scheme.eval_state(walk(game, decay, 12)[-1]).vectors["generator"], 1e-13)


def test_the_decay_may_follow_a_schedule() -> None:
    """The n-th move, at step n - 1, uses the schedule's value there, like a learning rate."""
    game, method = gan(), averaging(decay=Linear(0.0, 0.8, 4))
    states = walk(game, method, 6)
    expected = states[0].vectors["generator"]
    for step, state in enumerate(states[1:]):
        expected = state.vectors["generator"].lerp(expected, min(0.2 * step, 0.8))
    same(method.scheme.eval_state(states[-1]).vectors["generator"], expected, 1e-13)


def test_invalid_half_lives_are_refused() -> None:
    for field, value in (("half_life", 0.0), ("half_life", -1.0), ("ramp_up", 0.05)):
        with pytest.raises(InvalidValue, match=f"^{field}: got"):
            averaging(**{field: value})
    with pytest.raises(InvalidValue, match="^half_life: got 5.0; allowed: None, since the average is uniform"):
        averaging(kind="uniform", half_life=5.0)
    scheme = methods.averaged(half_life=100.0, ramp_up=0.05).scheme
    assert scheme == Averaging(Alternating(), half_life=100.0, ramp_up=0.05)
