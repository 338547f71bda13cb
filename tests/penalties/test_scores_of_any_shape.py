"""Penalties of discriminators that return maps or lists, strengths on schedules, finite differences and LeCam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from detente.penalties.base import Penalty
from detente.penalties.dragan import DRAGAN
from detente.penalties.finite_difference_r1 import FiniteDifferenceR1
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.le_cam import LeCam
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.schedules.linear import Linear

GRADIENT = [GradientPenalty(), DRAGAN(), R1(), R2(), FiniteDifferenceR1()]


def images(seed: int, count: int = 4) -> Tensor:
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(width: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(width)
        return torch.nn.Sequential(torch.nn.Conv2d(1, 3, width), torch.nn.Tanh(), torch.nn.Conv2d(3, 1, 2)).double()


def drawn(penalty: Penalty) -> dict[str, Tensor]:
    return penalty.draw(images(0).shape, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("penalty", GRADIENT, ids=repr)
def test_the_score_of_a_sample_is_the_sum_of_all_its_scores(penalty: Penalty) -> None:
    first, second, noise = network(2), network(3), drawn(penalty)

    def summed(x: Tensor) -> Tensor:
        return first(x).flatten(1).sum(1) + second(x).flatten(1).sum(1)

    outputs: list[Callable[[Tensor], Any]] = [
        lambda x: [first(x), second(x)],
        lambda x: {"scales": (first(x), [second(x).flatten(1)])},
    ]
    expected = penalty(summed, images(0), images(1), noise)
    for output in outputs:
        torch.testing.assert_close(penalty(output, images(0), images(1), noise), expected)


@pytest.mark.parametrize("penalty", [GradientPenalty, DRAGAN, R1, R2, FiniteDifferenceR1, LeCam])
def test_a_strength_may_follow_a_schedule(penalty: Any) -> None:
    scheduled, noise = penalty(Linear(0.0, 4.0, 8)), drawn(penalty())
    assert scheduled.scheduled and not penalty().scheduled
    buffers = LeCam().updated_buffers(LeCam().initial_buffers(images(0)), images(2).sum((1, 2, 3)), images(3) - 1)

    def value(penalty: Penalty) -> Tensor:
        memory = buffers if isinstance(penalty, LeCam) else {}
        return penalty.at(torch.tensor(2), torch.float64, memory)(network(2), images(0), images(1), noise)

    torch.testing.assert_close(value(scheduled), value(penalty(1.0)))
    assert value(scheduled) > 0 and scheduled == penalty(Linear(0.0, 4.0, 8))


def test_other_settings_may_follow_schedules() -> None:
    t = torch.tensor(1)
    noise = drawn(DRAGAN())
    scheduled = DRAGAN(target=Linear(0.0, 2.0, 2), spread=Linear(1.0, 0.0, 2)).at(t, torch.float64)
    plain = DRAGAN(target=1.0, spread=0.5)
    values = [penalty(network(2), images(0), images(1), noise) for penalty in (scheduled, plain)]
    torch.testing.assert_close(*values)


def test_finite_differences_of_a_quadratic_score_equal_the_formula() -> None:
    """Of ½‖x‖² the difference is σ⟨x, η⟩ + ½σ²‖η‖², so that its mean square over σ² is known."""
    real, penalty = images(0), FiniteDifferenceR1(3.0, 0.2)
    eta = drawn(penalty)["direction"].double()
    slope = (real * eta).flatten(1).sum(1) + 0.1 * eta.flatten(1).square().sum(1)
    actual = penalty(lambda x: 0.5 * x.flatten(1).square().sum(1), real, real, {"direction": eta})
    torch.testing.assert_close(actual, 1.5 * slope.square().mean())


def test_finite_differences_equal_r1_on_average() -> None:
    """Over 20,000 directions, within five standard errors of the penalty of the gradient; as in the paper's form."""
    discriminator, count = network(2), 20_000
    real = images(0, 1)
    many, generator = real.expand(count, -1, -1, -1), torch.Generator().manual_seed(0)
    penalty = FiniteDifferenceR1(2.0, 1e-4)
    noise = penalty.draw(many.shape, generator)
    with torch.no_grad():
        difference = discriminator(many + 1e-4 * noise["direction"].double()) - discriminator(many)
        squares = difference.flatten(1).sum(1).square()
        estimate = penalty(discriminator, many, many, noise)
    torch.testing.assert_close(estimate, squares.mean() / 1e-4**2)
    exact = R1(2.0)(discriminator, real, real, {}).detach()
    assert abs(estimate - exact) < 5 * (squares / 1e-4**2).std() / count**0.5


def test_le_cam_equals_the_reference_with_debiased_averages() -> None:
    """Anchors are averages of the evaluations before; relu and squares as in `lecam_reg`, in NumPy."""
    generator, penalty = np.random.default_rng(0), LeCam(0.3, decay=0.9)
    buffers, t = penalty.initial_buffers(torch.zeros(1).double()), torch.tensor(0)
    real_means: list[float] = []
    fake_means: list[float] = []
    for step in range(6):
        real, fake = generator.normal(0.5, 1, 8), generator.normal(-0.5, 1, 8)
        actual = penalty.at(t, buffers=buffers).regularization(torch.from_numpy(real), torch.from_numpy(fake))
        if step == 0:
            assert actual == 0, "there are no anchors yet"
        else:
            weights = 0.9 ** np.arange(step)[::-1]
            anchor_real = (weights * real_means).sum() / weights.sum()
            anchor_fake = (weights * fake_means).sum() / weights.sum()
            above, below = np.maximum(real - anchor_fake, 0) ** 2, np.maximum(anchor_real - fake, 0) ** 2
            assert float(actual) == pytest.approx(0.3 * (above.mean() + below.mean()), rel=1e-12)
        real_means, fake_means = [*real_means, real.mean()], [*fake_means, fake.mean()]
        buffers = penalty.updated_buffers(buffers, torch.from_numpy(real), torch.from_numpy(fake))


def test_le_cam_has_exact_derivatives_and_reads_the_discriminator() -> None:
    buffers = {"anchors": torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)}
    penalty = LeCam(2.0).at(torch.tensor(0), buffers=buffers)
    real, fake = images(0).flatten().requires_grad_(), images(1).flatten().requires_grad_()
    assert torch.autograd.gradcheck(penalty.regularization, (real, fake))
    assert torch.autograd.gradgradcheck(penalty.regularization, (real, fake))
    discriminator = network(2)
    actual = penalty(lambda x: [discriminator(x), discriminator(x)], images(0), images(1), {})
    expected = 2 * penalty.regularization(discriminator(images(0)), discriminator(images(1)))
    torch.testing.assert_close(actual, expected)
