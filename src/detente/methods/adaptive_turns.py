"""Alternating training in which the discriminator waits while it is too far ahead."""

from __future__ import annotations

from detente.fields.gradient import Gradient
from detente.methods.base import Betas, Rate, named_optimizer, registered
from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule
from detente.schemes.adaptive_turns import AdaptiveTurns


@registered(
    cost=2,
    memory="Adam 2",
    use="if the discriminator wins early and the generator's loss only grows",
    limits="hides an imbalance that a penalty or other rates would remove; the threshold depends on the objective",
)
def adaptive_turns(
    threshold: float | Schedule = 0.7,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    betas: Betas = None,
    clip: float | Schedule | None = None,
) -> Method:
    """Alternating training, with turns of the discriminator only while its loss is at least a threshold.

    Args:
        threshold: least loss of the discriminator with which it moves, finite, or a schedule; the default is half the
            loss of an undecided discriminator, 2 log 2, with the non-saturating objective.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4.
        betas: (β₁, β₂) of the named optimizer, each in [0, 1); default its own, for Adam (0.5, 0.999).
        clip: largest norm of each player's gradient, > 0, or a schedule; default no bound.

    Source: Wu et al. 2016, 3D-GAN (arXiv:1610.07584), section 3.2; Larsen et al. 2016, Autoencoding beyond pixels
        (arXiv:1512.09300), code; our threshold.
    """
    scheme = AdaptiveTurns({"discriminator": threshold})
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 2e-4, betas, clip))
