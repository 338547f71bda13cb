"""Noisy discriminators: samples from a distribution of discriminators instead of a single optimum."""

from __future__ import annotations

from typing import Literal

from detente.fields.covariance import Covariance
from detente.fields.gradient import Gradient
from detente.methods.base import Rate, named_optimizer, registered, require_one_rate
from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.optimizers.ccadl import CCADL
from detente.optimizers.langevin import Langevin
from detente.optimizers.sgld import SGLD
from detente.optimizers.sgnht import SGNHT
from detente.schedules.base import Schedule
from detente.schemes.alternating import Alternating

GENERATOR_RATE = 1e-3  # Adam's rate for the generator of the mixture; the sources do not state one


@registered(
    cost=2,
    memory="Adam 2 of G, variances 1 of D",
    use="if the generator covers few modes and the discriminator is small",
    limits="does not support BatchNorm; per-sample gradients take about the time of another gradient; a gain over "
    "plain gradients was not shown",
)
def covariance_langevin(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_rate: float | Schedule = 0.1,
    temperature: float | Schedule = 1.0,
    scale: float | Schedule = 1e-4,
    kind: Literal["diagonal", "full"] = "diagonal",
    average: Literal["running", "instantaneous"] = "running",
    prior: float = 0.0,
) -> Method:
    """Noisy discriminator gradients: Langevin steps with noise that has the covariance of per-sample gradients.

    The source states no numbers, so the rates and the scale are ours. The scale is ε/(2 B), at which the noise is as
    large as the noise of batches of 512. With a scale of 1, the formula's literal value, noise dominates the gradient.

    Args:
        optimizer: the generator's optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-3.
        discriminator_rate: ε of the discriminator's steps, > 0.
        temperature: T, > 0: the strength of the noise.
        scale: s, > 0: the factor 1/N of a mean loss.
        kind: "diagonal" for variances only, or "full" for the matrix (up to 20,000 parameters).
        average: the running mean I_t of the source, or the covariance of the last batch, which allows larger steps.
        prior: precision of a Gaussian prior on the discriminator's parameters, ≥ 0.

    Source: NIPS 2017 submission on noisy discriminator gradients, eqs. 10 and 11.
    """
    noisy = Langevin(discriminator_rate, temperature, scale)
    return _noisy_discriminator(Covariance(kind=kind, average=average, prior=prior), noisy, optimizer, learning_rate)


@registered(
    cost=2,
    memory="Adam 2 of G",
    use="for noise without per-sample gradients",
    limits="its noise ignores the noise of the data",
)
def sgld(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_rate: float | Schedule = 0.1,
    temperature: float | Schedule = 1e-6,
) -> Method:
    """Stochastic gradient Langevin dynamics for the discriminator: the plain gradient plus white noise.

    The paper is about posteriors, not GANs, so the rates and the temperature are ours.

    Args:
        optimizer: the generator's optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-3.
        discriminator_rate: ε of the discriminator's steps, > 0.
        temperature: T, > 0; for the posterior given N samples, 1/N.

    Source: Welling & Teh 2011, Bayesian Learning via Stochastic Gradient Langevin Dynamics, eq. 4.
    """
    return _noisy_discriminator(Gradient(), SGLD(discriminator_rate, temperature), optimizer, learning_rate)


@registered(
    cost=2,
    memory="Adam 2 of G, momentum 1 of D",
    use="instead of `sgld` if batches are small",
    limits="as `sgld`",
)
def sgnht(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_rate: float | Schedule = 0.1,
    friction: float = 1.0,
    temperature: float | Schedule = 1e-6,
) -> Method:
    """Stochastic gradient Nosé–Hoover thermostat for the discriminator: momentum with friction that adapts to noise.

    The paper is about posteriors, not GANs, so the rates and the temperature are ours.

    Args:
        optimizer: the generator's optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-3.
        discriminator_rate: h of the discriminator's steps, > 0; in the long run, h/A acts like a gradient step's rate.
        friction: A > 0, the coefficient of the added noise and the initial value of the thermostat.
        temperature: T, > 0; for the posterior given N samples, 1/N.

    Source: Ding et al. 2014, Bayesian Sampling Using Stochastic Gradient Thermostats, algorithm 2.
    """
    return _noisy_discriminator(Gradient(), SGNHT(discriminator_rate, friction, temperature), optimizer, learning_rate)


@registered(
    cost=2,
    memory="Adam 2 of G, momentum 1 and variances 1 of D",
    use="instead of `sgnht` if the noise differs between parameters",
    limits="does not support BatchNorm",
)
def ccadl(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_rate: float | Schedule = 0.2,
    friction: float = 2.0,
    temperature: float | Schedule = 1e-4,
    samples: int = 512,
    kind: Literal["diagonal", "full"] = "diagonal",
    average: Literal["running", "instantaneous"] = "running",
) -> Method:
    """Covariance-controlled adaptive Langevin for the discriminator: a thermostat, and friction against batch noise.

    The paper is about posteriors, not GANs, so the rates and the temperature are ours. A lower temperature requires a
    smaller rate, since friction grows with h²/T.

    Args:
        optimizer: the generator's optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-3.
        discriminator_rate: h of the discriminator's steps, > 0; in the long run, h/A acts like a gradient step's rate.
        friction: A > 0, the coefficient of the added noise and the initial value of the thermostat.
        temperature: T, > 0; for the posterior given N samples, 1/N.
        samples: B, the number of samples in the game's batch, ≥ 1.
        kind: "diagonal" for variances only, or "full" for the matrix (up to 20,000 parameters).
        average: the running mean of the paper, or the covariance of the last batch, which allows larger steps.

    Source: Shang, Zhu, Leimkuhler & Storkey 2015, Covariance-Controlled Adaptive Langevin Thermostat for Large-Scale
        Bayesian Sampling, algorithm 1.
    """
    noisy = CCADL(discriminator_rate, friction, temperature, samples)
    return _noisy_discriminator(Covariance(kind=kind, average=average), noisy, optimizer, learning_rate)


def _noisy_discriminator(
    field: Covariance | Gradient, discriminator: Optimizer, optimizer: Optimizer | str, learning_rate: Rate
) -> Method:
    require_one_rate(learning_rate, "It is the generator's rate; discriminator_rate is the discriminator's")
    generator = named_optimizer(optimizer, learning_rate, GENERATOR_RATE)
    assert isinstance(generator, Optimizer)
    return Method(field, Alternating(), {"generator": generator, "discriminator": discriminator})
