"""Restarts from averages: the running mean by hand, restarts only at snapshots, and SVRE on the bilinear game."""

from __future__ import annotations

import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.game import Game
from detente.games.quadratic import Bilinear
from detente.games.stochastic_bilinear import StochasticBilinear
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schemes.restarting import Restarting
from detente.schemes.simultaneous import Simultaneous
from detente.state import State
from detente.training.step import draw


def walk(game: Game, method: Method, steps: int, seed: int = 0) -> list[tuple[State, State]]:
    """Return for every step the state prepared for it and the state after it."""
    generator = torch.Generator().manual_seed(seed)
    state, walked = method.initial(game, generator), []
    for _ in range(steps):
        ready = method.prepare(game, state, generator)
        drawn = draw(game, method, ready, generator)
        state, _ = method.step(game, ready, drawn.batches, drawn.noise)
        walked.append((ready, state))
    return walked


def test_the_average_is_the_mean_of_all_iterates_since_the_start() -> None:
    game, method = Bilinear(), Method(methods.simultaneous().field, Restarting(Simultaneous()), SGD(0.1))
    walked = walk(game, method, 7)
    iterates = [walked[0][0], *(state for _, state in walked)]
    for name in game.players:
        mean = torch.stack([state.vectors[name] for state in iterates]).mean(0)
        torch.testing.assert_close(method.scheme.eval_state(iterates[-1]).vectors[name], mean)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_restart_continues_from_the_average_and_takes_the_snapshot_there(probability: float) -> None:
    game = StochasticBilinear(6, 1)
    walked = walk(game, methods.svre_restarted(1.0, probability, SGD(0.5)), 40)
    restarts = 0
    for (_, before), (ready, _) in zip(walked, walked[1:], strict=False):
        snapshot, known = ready.memory["field"]["snapshot"], before.memory["scheme"]
        taken = any(not torch.equal(snapshot[p], before.memory["field"]["snapshot"][p]) for p in game.players)
        for name in game.players:
            expected = known["average"] if taken and probability else before.vectors
            assert torch.equal(ready.vectors[name], expected[name])
            assert not taken or torch.equal(snapshot[name], ready.vectors[name])
        restarts += taken
    assert restarts > 2


def test_restarted_svre_converges_at_the_notebooks_rate() -> None:
    game = StochasticBilinear(10, 1)
    method = methods.svre_restarted(1.0, 0.1, SGD(0.3))
    solution = game.solution
    assert solution is not None
    walked = walk(game, method, 3000)

    def distance(state: State) -> float:
        at = method.scheme.eval_state(state).vectors
        return float(sum((at[p] - solution[p]).square().sum() for p in game.players)) ** 0.5

    assert distance(walked[-1][1]) < 1e-3 * distance(walked[0][0])


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_invalid_probabilities_are_refused(probability: float) -> None:
    with pytest.raises(InvalidValue, match="probability"):
        Restarting(Simultaneous(), probability)
