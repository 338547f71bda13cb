"""The relativistic pairing loss: closed form, symmetries, and the known behaviour on the smallest GAN."""

from __future__ import annotations

import math

import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.games.dirac_gan import DiracGAN
from detente.objectives.relativistic import Relativistic
from detente.penalties.r1 import R1

REAL = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
FAKE = torch.tensor([-0.3, 1.5, -2.0], dtype=torch.float64)


def test_closed_form_pair_by_pair() -> None:
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    discriminator = sum(math.log(1 + math.exp(-(real - fake))) for real, fake in pairs) / 3
    generator = sum(math.log(1 + math.exp(-(fake - real))) for real, fake in pairs) / 3
    assert float(Relativistic().discriminator_loss(REAL, FAKE)) == pytest.approx(discriminator)
    assert float(Relativistic().generator_loss(REAL, FAKE)) == pytest.approx(generator)


def test_losses_depend_on_differences_and_are_symmetric_in_the_roles() -> None:
    objective = Relativistic()
    torch.testing.assert_close(
        objective.discriminator_loss(REAL + 7, FAKE + 7), objective.discriminator_loss(REAL, FAKE)
    )
    torch.testing.assert_close(objective.generator_loss(REAL, FAKE), objective.discriminator_loss(FAKE, REAL))
    # softplus(d) − softplus(−d) = d: the losses differ by the difference of the mean scores.
    difference = objective.generator_loss(REAL, FAKE) - objective.discriminator_loss(REAL, FAKE)
    torch.testing.assert_close(difference, REAL.mean() - FAKE.mean())


def test_extreme_scores_stay_finite() -> None:
    loss = Relativistic().discriminator_loss(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert float(loss) == pytest.approx(2e4)


def test_real_scores_are_used_and_declared() -> None:
    assert Relativistic.generator_needs_real and not Relativistic.zero_sum
    with pytest.raises(InvalidValue, match="real: got None"):
        Relativistic().generator_loss(None, FAKE)


def test_converges_with_a_gradient_penalty_and_not_without() -> None:
    """Huang et al. 2024: locally convergent with R1 or R2, as Mescheder et al. 2018 showed of other losses."""
    start, play, lengths = (0.1, 0.1), methods.simultaneous("sgd", 0.1), []
    for penalty in (None, R1(1.0)):
        game = DiracGAN(Relativistic(), penalty, start)
        state = play.initial(game, torch.Generator().manual_seed(0))
        for _ in range(300):
            state, _ = play.step(game, state, (game.draw(torch.Generator()),))
        lengths.append(math.hypot(*(float(vector) for vector in state.vectors.values())))
    assert lengths[0] > 1.2 * math.hypot(*start) and lengths[1] < 1e-4


def test_r3gan_uses_alternating_adam_without_momentum() -> None:
    play = methods.r3gan()
    adam = play.optimizers(("generator", "discriminator"))["generator"]
    assert (adam.betas, adam.learning_rate) == ((0.0, 0.99), 2e-4)  # pyright: ignore[reportAttributeAccessIssue]
    assert play.draws(DiracGAN(Relativistic())) == 2
