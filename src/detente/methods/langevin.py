"""Noisy discriminators: samples of what discriminators the data allow, instead of the one best."""

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
from detente.schedule import Schedule
from detente.schemes.alternating import Alternating

GENERATOR_RATE = 1e-3  # of Adam, for the generator of the mixture; no source gives one


@registered(
    memory="Adam 2 of G, variances 1 of D",
    use="where a generator keeps to few modes and its discriminator is small",
    limits="not with BatchNorm; per-sample gradients take about the time of one more gradient",
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
    """Noisy discriminator gradients: Langevin steps whose noise has the covariance of the samples' gradients.

    The source gives no number: the rates are ours, and so is the scale, at which the noise is as large as what batches
    of 512 make by themselves, ε/(2 B); with the scale 1 of the formula as it stands it drowns the gradient.

    Args:
        optimizer: the generator's, an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-3.
        discriminator_rate: ε of the discriminator's steps, > 0.
        temperature: T, > 0: how much of the noise is wanted.
        scale: s, > 0: the factor 1/N of a mean loss.
        kind: variances alone, or the whole matrix (up to 20,000 parameters).
        average: the running mean I_t of the source, or the covariance of the last batch, which allows larger steps.
        prior: precision of a Gaussian prior on the discriminator's parameters, ≥ 0.

    Source: NIPS 2017 submission on noisy discriminator gradients, eqs. 10 and 11.
    """
    noisy = Langevin(discriminator_rate, temperature, scale)
    return _against(Covariance(kind=kind, average=average, prior=prior), noisy, optimizer, learning_rate)


@registered(
    memory="Adam 2 of G",
    use="for noise that needs no per-sample gradients",
    limits="its noise ignores the data's own",
)
def sgld(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_rate: float | Schedule = 0.1,
    temperature: float | Schedule = 1e-6,
) -> Method:
    """Stochastic gradient Langevin dynamics for the discriminator: the plain gradient and white noise.

    The paper is about posteriors, not GANs: the rates and the temperature are ours.

    Args:
        optimizer: the generator's, an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-3.
        discriminator_rate: ε of the discriminator's steps, > 0.
        temperature: T, > 0; for the posterior given N samples, 1/N.

    Source: Welling & Teh 2011, Bayesian Learning via Stochastic Gradient Langevin Dynamics, eq. 4.
    """
    return _against(Gradient(), SGLD(discriminator_rate, temperature), optimizer, learning_rate)


@registered(
    memory="Adam 2 of G, momentum 1 of D",
    use="instead of `sgld` where batches are small",
    limits="as `sgld`",
)
def sgnht(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_rate: float | Schedule = 0.1,
    friction: float = 1.0,
    temperature: float | Schedule = 1e-6,
) -> Method:
    """Stochastic gradient Nosé–Hoover thermostat for the discriminator: momentum, cooled as its noise requires.

    The paper is about posteriors, not GANs: the rates and the temperature are ours.

    Args:
        optimizer: the generator's, an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-3.
        discriminator_rate: h of the discriminator's steps, > 0; h/A is what a gradient step's rate is, in the long run.
        friction: A > 0, of the added noise and of the thermostat at first.
        temperature: T, > 0; for the posterior given N samples, 1/N.

    Source: Ding et al. 2014, Bayesian Sampling Using Stochastic Gradient Thermostats, algorithm 2.
    """
    return _against(Gradient(), SGNHT(discriminator_rate, friction, temperature), optimizer, learning_rate)


@registered(
    memory="Adam 2 of G, momentum 1 and variances 1 of D",
    use="instead of `sgnht` where the noise differs from parameter to parameter",
    limits="not with BatchNorm",
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
    """Covariance-controlled adaptive Langevin for the discriminator: a thermostat, and friction for its batches' noise.

    The paper is about posteriors, not GANs: the rates and the temperature are ours. A lower temperature needs a
    smaller rate: friction grows with h²/T.

    Args:
        optimizer: the generator's, an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-3.
        discriminator_rate: h of the discriminator's steps, > 0; h/A is what a gradient step's rate is, in the long run.
        friction: A > 0, of the added noise and of the thermostat at first.
        temperature: T, > 0; for the posterior given N samples, 1/N.
        samples: B, how many samples the game's batch has, ≥ 1.
        kind: variances alone, or the whole matrix (up to 20,000 parameters).
        average: the running mean of the paper, or the covariance of the last batch, which allows larger steps.

    Source: Shang, Zhu, Leimkuhler & Storkey 2015, Covariance-Controlled Adaptive Langevin Thermostat for Large-Scale
        Bayesian Sampling, algorithm 1.
    """
    noisy = CCADL(discriminator_rate, friction, temperature, samples)
    return _against(Covariance(kind=kind, average=average), noisy, optimizer, learning_rate)


def _against(field: Covariance | Gradient, noisy: Optimizer, optimizer: Optimizer | str, learning_rate: Rate) -> Method:
    require_one_rate(learning_rate, "It is the generator's; discriminator_rate is the discriminator's")
    plain = named_optimizer(optimizer, learning_rate, GENERATOR_RATE)
    assert isinstance(plain, Optimizer)
    return Method(field, Alternating(), {"generator": plain, "discriminator": noisy})
