"""Methods based on Adam: optimism, extragradient, lookahead and averaging."""

from __future__ import annotations

from typing import Literal

from detente.fields.gradient import Gradient
from detente.methods.base import Betas, Optimizers, Rate, named_optimizer, registered, with_rates
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.optimistic_adam import OptimisticAdam
from detente.schedules.base import Schedule
from detente.schemes.alternating import Alternating
from detente.schemes.averaging import Averaging
from detente.schemes.extragradient import Extragradient
from detente.schemes.lookahead import Lookahead
from detente.schemes.simultaneous import Simultaneous


@registered(
    cost=2,
    memory="Adam 2 + last move 1",
    use="if Adam cycles and a step must not cost more",
    limits="is less stable than extragradient at the same rate",
)
def optimistic_adam(
    learning_rate: Rate = None, betas: tuple[float | Schedule, float | Schedule] = (0.5, 0.9)
) -> Method:
    """Optimistic Adam: all players move at once, with Adam's moves extrapolated by one step.

    Args:
        learning_rate: learning rate, for all players or per player; default 1e-4.
        betas: (β₁, β₂), each in [0, 1) or a schedule.

    Source: Daskalakis, Ilyas, Syrgkanis & Zeng 2018, Training GANs with Optimism (arXiv:1711.00141), Algorithm 1.
    """
    optimizers = with_rates(learning_rate, 1e-4, lambda rate: OptimisticAdam(rate, betas))
    return Method(Gradient(), Simultaneous(), optimizers)


@registered(
    cost=4,
    memory="Adam 2",
    use="as `extragradient`, with the betas and rates of the paper",
    limits="as `extragradient`",
)
def extra_adam(learning_rate: Rate = None, betas: tuple[float | Schedule, float | Schedule] = (0.5, 0.9)) -> Method:
    """ExtraAdam: extragradient with Adam for both half-steps, each on its own batch.

    Args:
        learning_rate: learning rate, for all players or per player; default 5e-5 for the generator and 5e-4 for the
            discriminator, as in the paper.
        betas: (β₁, β₂), each in [0, 1) or a schedule.

    Source: Gidel et al. 2019, A Variational Inequality Perspective on GANs (arXiv:1802.10551), Algorithm 4.
    """
    rates: Rate = {"generator": 5e-5, "discriminator": 5e-4} if learning_rate is None else learning_rate
    return Method(Gradient(), Extragradient(), with_rates(rates, 5e-5, lambda rate: Adam(rate, betas)))


@registered(
    cost=2,
    memory="Adam 2 + slow 1",
    use="as a first remedy if alternating training cycles or is noisy",
    limits="does not help if the inner method diverges within k steps; converges slowly on large bilinear games",
)
def lookahead(
    every: int = 5,
    step: float | Schedule = 0.5,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_turns: int = 1,
    betas: Betas = None,
) -> Method:
    """Lookahead-minmax: alternating training that is pulled half-way back to slow weights every few steps.

    Args:
        every: steps between pulls, ≥ 1; 5 on CIFAR-10, 1000 on MNIST, 5000 with extragradient.
        step: step size of the slow weights towards the fast ones, in (0, 1], or a schedule.
        optimizer: an optimizer or its name; "adam" has the paper's β₁ = 0 and β₂ = 0.9.
        learning_rate: rate of the named optimizer; default 2e-4.
        discriminator_turns: turns of the discriminator per turn of the generator, ≥ 1; 5 in the paper.
        betas: (β₁, β₂) of the named optimizer, each in [0, 1); default the paper's for Adam.

    Source: Chavdarova et al. 2021, Taming GANs with Lookahead-Minmax (arXiv:2006.14567), Algorithm 1.
    """
    inner, player = _alternating(optimizer, learning_rate, discriminator_turns, betas)
    return Method(Gradient(), Lookahead(inner, every, step), player)


@registered(
    cost=2,
    memory="Adam 2 + slow 2",
    use="instead of `lookahead` in very long runs",
    limits="has no benefit unless runs are many times longer than `nested_every`",
)
def nested_lookahead(
    every: int = 5,
    nested_every: int = 10_000,
    step: float | Schedule = 0.5,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_turns: int = 1,
) -> Method:
    """Nested Lookahead-minmax: the slow weights are also pulled back, at a longer interval.

    Args:
        every: steps between pulls, ≥ 1.
        nested_every: steps between pulls of the slow weights, a multiple of `every`; 10 000 in the code's example.
        step: step size of the slow weights towards the fast ones, in (0, 1], or a schedule.
        optimizer: an optimizer or its name; "adam" has the paper's β₁ = 0 and β₂ = 0.9.
        learning_rate: rate of the named optimizer; default 2e-4.
        discriminator_turns: turns of the discriminator per turn of the generator, ≥ 1; 5 in the paper.

    Source: Chavdarova et al. 2021, Taming GANs with Lookahead-Minmax (arXiv:2006.14567), and its code.
    """
    inner, player = _alternating(optimizer, learning_rate, discriminator_turns)
    return Method(Gradient(), Lookahead(inner, every, step, nested_every), player)


@registered(
    cost=2,
    memory="Adam 2 + generator 1",
    use="nearly always, for the final samples",
    limits="does not make the training converge",
)
def averaged(
    decay: float | Schedule = 0.999,
    kind: Literal["exponential", "uniform"] = "exponential",
    start: int = 0,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_turns: int = 1,
    half_life: float | None = None,
    ramp_up: float | None = None,
    betas: Betas = None,
    clip: float | Schedule | None = None,
) -> Method:
    """Alternating training with an average of the generator for metrics and samples.

    Args:
        decay: decay of the exponential average, in [0, 1), or a schedule.
        kind: "exponential" or "uniform".
        start: first step that enters the average, ≥ 0.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4.
        discriminator_turns: turns of the discriminator per turn of the generator, ≥ 1.
        half_life: half-life of the exponential average in steps, > 0, instead of `decay`; default none.
        ramp_up: the half-life is at most this share of the steps so far, 0.05 in StyleGAN2 and EDM; default none.
        betas: (β₁, β₂) of the named optimizer, each in [0, 1); default its own, for Adam (0.5, 0.999).
        clip: largest norm of each player's gradient, > 0, or a schedule; default no bound.

    Source: Yazıcı et al. 2019, The Unusual Effectiveness of Averaging in GAN Training (arXiv:1806.04498).
        Half-life and ramp-up as in the code of StyleGAN2-ADA and EDM.
    """
    turns = {"discriminator": discriminator_turns} if discriminator_turns != 1 else {}
    scheme = Averaging(Alternating(turns=turns), kind, decay, ("generator",), start, half_life, ramp_up)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 2e-4, betas, clip))


def _alternating(
    optimizer: Optimizer | str, learning_rate: Rate, discriminator_turns: int, betas: Betas = None
) -> tuple[Alternating, Optimizers]:
    """Return the alternating scheme, and the requested optimizer; "adam" has the betas of Lookahead-minmax."""
    turns = {"discriminator": discriminator_turns} if discriminator_turns != 1 else {}
    if optimizer == "adam" and betas is None:
        return Alternating(turns=turns), with_rates(learning_rate, 2e-4, lambda rate: Adam(rate, (0.0, 0.9)))
    return Alternating(turns=turns), named_optimizer(optimizer, learning_rate, 2e-4, betas)
