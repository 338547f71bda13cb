"""The training of R3GAN."""

from __future__ import annotations

from detente.fields.gradient import Gradient
from detente.methods.base import Rate, registered, with_rates
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.schemes.alternating import Alternating


@registered(
    cost=2,
    memory="Adam 2",
    use="as a strong current baseline for images, with the objective `relativistic` and the penalties R1 and R2",
    limits="needs second derivatives for its penalties",
)
def r3gan(learning_rate: Rate = None) -> Method:
    """R3GAN's training: alternating Adam without momentum; use it with R3GAN's objective and both penalties.

    These are settings of the game: the objective `relativistic` and the penalties `r1` and `r2`, with equal weights γ;
    the best γ depends on the data. The authors also lower the rate and γ and raise β₂ (0.9 to 0.99) early in training.
    This method uses the final β₂; the rate may be a schedule.

    Args:
        learning_rate: Adam's rate or a schedule; default 2e-4.

    Source: Huang et al. 2024, The GAN is dead; long live the GAN! (R3GAN, arXiv:2501.05441), sections 2 and 3.
    """
    return Method(Gradient(), Alternating(), with_rates(learning_rate, 2e-4, lambda rate: Adam(rate, (0.0, 0.99))))
