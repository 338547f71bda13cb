"""Lazy penalties: every k-th step, k times as strong, and no call of the discriminator in the other steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from detente import methods
from detente.errors import InvalidValue
from detente.games.dirac_gan import DiracGAN
from detente.penalties.base import Penalty
from detente.penalties.dragan import DRAGAN
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.lazy import Lazy
from detente.penalties.le_cam import LeCam
from detente.penalties.r1 import R1
from detente.schedules.linear import Linear
from detente.training.step import Steps, draw

REAL = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FAKE = torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def quadratic(x: Tensor) -> Tensor:
    return 0.5 * x.square().sum(1)


@pytest.mark.parametrize("penalty", [R1(3.0), GradientPenalty(), DRAGAN()], ids=repr)
def test_every_fourth_step_at_four_times_the_strength(penalty: Penalty) -> None:
    noise = penalty.draw(REAL.shape, torch.Generator().manual_seed(0))
    again = Lazy(penalty, 4).draw(REAL.shape, torch.Generator().manual_seed(0))
    assert all(torch.equal(noise[name], again[name]) for name in noise)
    calls = []

    def score(x: Tensor) -> Tensor:
        calls.append(x)
        return quadratic(x)

    values = [Lazy(penalty, 4).at(torch.tensor(t))(score, REAL, FAKE, noise) for t in range(8)]
    plain = penalty(quadratic, REAL, FAKE, noise)
    assert [bool(value) for value in values] == [True, False, False, False] * 2
    torch.testing.assert_close(values[4], 4 * plain)
    torch.testing.assert_close(torch.stack(values).mean(), plain)
    assert len(calls) == 2, "steps without the penalty do not call the discriminator"


def test_an_inner_schedule_is_evaluated_at_the_same_step() -> None:
    lazy = Lazy(R1(Linear(0.0, 8.0, 8)), 2)
    penalty = lazy.at(torch.tensor(4), torch.float64)(quadratic, REAL, FAKE, {})
    torch.testing.assert_close(penalty, 2 * R1(4.0)(quadratic, REAL, FAKE, {}))
    assert lazy.scheduled and Lazy(R1()).scheduled


def test_skipped_steps_do_not_update_averages() -> None:
    inner = LeCam(decay=0.5)
    lazy, buffers = Lazy(inner, 3), inner.initial_buffers(REAL)
    expected = inner.updated_buffers(buffers, REAL, FAKE)
    for t, updated in ((3, expected), (4, buffers)):
        actual = lazy.at(torch.tensor(t), buffers=buffers).updated_buffers(buffers, REAL, FAKE)
        torch.testing.assert_close(actual, updated)
    after = lazy.at(torch.tensor(3), buffers=expected)(quadratic, REAL, FAKE, {})
    torch.testing.assert_close(after, 3 * inner.at(torch.tensor(0), buffers=expected)(quadratic, REAL, FAKE, {}))


def test_games_pass_the_step_in_mapped_and_compiled_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of the Dirac-GAN, with a penalty in the first and the last, against a loop that adds it."""
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # inductor takes seconds a graph
    game, play = DiracGAN(penalty=Lazy(R1(0.7), 2), start=(1.0, 0.5)), methods.simultaneous("sgd", 0.1)
    assert game.scheduled

    def after(**how: bool) -> list[dict[str, Tensor]]:
        generator, states, draws = torch.Generator().manual_seed(0), [], []
        for seed in range(2):
            states.append(replace(play.initial(game, generator), t=torch.tensor(seed)))
            draws.append([draw(game, play, states[-1], generator) for _ in range(3)])
        return [state.flat() for state in Steps(game, play, chunk=3, **how)(states, draws)[0]]

    eager = after()
    for seed, final in enumerate(eager):
        theta, psi = 1.0, 0.5
        for t in range(seed, seed + 3):
            slope = torch.sigmoid(torch.tensor(theta * psi)).item()
            strength = 2 * 0.7 if t % 2 == 0 else 0.0
            theta, psi = theta + 0.1 * (1 - slope) * psi, psi - 0.1 * (slope * theta + strength * psi)
        torch.testing.assert_close(float(final["vectors/generator"]), theta, rtol=1e-6, atol=0)
        torch.testing.assert_close(float(final["vectors/discriminator"]), psi, rtol=1e-6, atol=0)
    for how in ({"mapped": True}, {"compiled": True}, {"compiled": True, "mapped": True}):
        torch.testing.assert_close(after(**how), eager, rtol=1e-12, atol=0)


def test_invalid_use_gives_a_one_line_error() -> None:
    with pytest.raises(InvalidValue, match="^every: got 0; allowed: an integer ≥ 1"):
        Lazy(R1(), 0)
    with pytest.raises(InvalidValue, match="^t: got None; allowed: a step"):
        Lazy(R1())(quadratic, REAL, FAKE, {})
    with pytest.raises(InvalidValue, match="^penalty: got 'r1'"):
        Lazy("r1")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="^strength: got Linear.*at.t.* first"):
        R1(Linear(0.0, 1.0, 2))(quadratic, REAL, FAKE, {})
