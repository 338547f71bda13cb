"""Methods against the noise of mini-batches: variance reduction, full-batch gradients, and unbiased consensus."""

from __future__ import annotations

from dataclasses import replace

from detente.fields.debiased_consensus import DebiasedConsensus
from detente.fields.full_batch import FullBatch
from detente.fields.variance_reduced import VarianceReduced
from detente.methods.base import Rate, gan_optimizers, named_optimizer, registered, require_one_rate
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule
from detente.schemes.alternating import Alternating
from detente.schemes.averaging import Averaging
from detente.schemes.extragradient import Extragradient
from detente.schemes.restarting import Restarting
from detente.schemes.shared_batch import SharedBatch
from detente.schemes.simultaneous import Simultaneous


@registered(
    cost=6,
    memory="snapshot 1, its gradient 1",
    use="for a stored dataset without BatchNorm, if noise prevents plain SGD from converging",
    limits="does not replace Adam in deep networks, where faster learning was not shown; needs fixed latents",
    points=25_600,
)
def svrg(every: float = 1.0, optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """SVRG-GAN: both players' gradients, corrected by those at a snapshot with a known full-batch gradient.

    Args:
        every: m, epochs between snapshots, > 0.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01 (the paper's for MNIST; 1e-4 for Fashion-MNIST).

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, Algorithm 3.
    """
    return Method(VarianceReduced(every), Alternating(), named_optimizer(optimizer, learning_rate, 0.01))


@registered(
    cost=6,
    memory="as `svrg`",
    use="instead of `svrg` to save time: both turns use one batch, as in the printed "
    "Algorithm 3 (the authors' later code draws twice)",
    limits="as `svrg`",
    points=25_600,
)
def svrg_shared_batch(every: float = 1.0, optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """SVRG-GAN as printed: the generator's turn reuses the latents and samples of the discriminator's turn.

    Line 14 of the printed Algorithm 3 uses the latents of line 11, although line 13 draws new ones. The authors' later
    code uses the new ones, as `svrg` does. Both gradients are unbiased; with this method, both turns share the forward
    passes.

    Args:
        every: m, epochs between snapshots, > 0.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, Algorithm 3 as printed.
    """
    return replace(svrg(every, optimizer, learning_rate), scheme=SharedBatch())


@registered(
    cost=4,
    memory="snapshot 1, D's gradient 1, Adam 2 of G",
    use="as `svrg`, if the generator needs Adam's scaling",
    limits="as `svrg`",
    points=25_600,
)
def svrg_discriminator(
    every: float = 1.0,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
    generator_optimizer: Optimizer | None = None,
) -> Method:
    """SVRG-Discriminator-GAN: variance reduction for the discriminator, plain gradients with Adam for the generator.

    Args:
        every: m, epochs between snapshots, > 0.
        optimizer: the discriminator's optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.
        generator_optimizer: the generator's optimizer; default Adam with rate 1e-4 and betas (0.5, 0.999).

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, section 5.3 and figure 7a.
    """
    require_one_rate(learning_rate, "It is the discriminator's rate; generator_optimizer has the generator's")
    reduced = gan_optimizers(optimizer, learning_rate, 0.01)["discriminator"]
    plain = generator_optimizer or Adam(1e-4, (0.5, 0.999))
    field = VarianceReduced(every, players=("discriminator",))
    return Method(field, Alternating(), {"generator": plain, "discriminator": reduced})


@registered(
    cost=10,
    memory="snapshot 1, its gradient 1",
    use="for a stored dataset, if both rotation and noise prevent convergence",
    limits="as `svrg`; on the stochastic bilinear game only its averages came nearer, not its last iterate",
    points=25_600,
)
def svre(
    every: float = 1.0,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
    discriminator_learning_rate: Rate = None,
) -> Method:
    """SVRE: extragradient with variance-reduced gradients and snapshots at random times.

    Args:
        every: average number of epochs between snapshots, > 0; each step takes one with probability 1/(steps of these
            epochs).
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.
        discriminator_learning_rate: a separate rate for the discriminator with a named optimizer; the paper's images:
            0.04.

    Source: Chavdarova, Gidel, Fleuret & Lacoste-Julien 2019, Reducing Noise in GAN Training with Variance Reduced
        Extragradient (arXiv:1904.08598), Algorithm 1.
    """
    field = VarianceReduced(every, by_chance=True)
    if discriminator_learning_rate is None:
        return Method(field, Extragradient(), named_optimizer(optimizer, learning_rate, 0.01))
    require_one_rate(learning_rate, "It is the generator's rate; discriminator_learning_rate is the discriminator's")
    require_one_rate(discriminator_learning_rate, "It is the discriminator's rate")
    shared = gan_optimizers(optimizer, learning_rate, 0.01)["generator"]
    discriminator_optimizer = gan_optimizers(optimizer, discriminator_learning_rate, 0.04)["discriminator"]
    return Method(field, Extragradient(), {"generator": shared, "discriminator": discriminator_optimizer})


@registered(
    cost=10,
    memory="as `svre`, average 1",
    use="instead of `svre` if its last iterate still moves around the solution",
    limits="as `svrg`",
    points=25_600,
)
def svre_averaged(
    every: float = 1.0,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
    players: tuple[str, ...] = ("generator",),
) -> Method:
    """SVRE with the uniform average of its iterates for metrics and samples.

    Args:
        every: average number of epochs between snapshots, > 0.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.
        players: the players to average.

    Source: Chavdarova et al. 2019 (arXiv:1904.08598), section 3 and figure 2 (AVG-SVRE).
    """
    plain = svre(every, optimizer, learning_rate)
    return replace(plain, scheme=Averaging(plain.scheme, "uniform", players=players))


@registered(
    cost=10,
    memory="as `svre`, averages 1 of both",
    use="instead of `svre` for games that are nearly bilinear",
    limits="as `svrg`; an average of deep networks' weights over a long path is not a useful network",
    points=25_600,
)
def svre_restarted(
    every: float = 1.0,
    probability: float | Schedule = 0.1,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
) -> Method:
    """Restarted SVRE: at a snapshot, training may restart from the average of its iterates.

    Args:
        every: average number of epochs between snapshots, > 0.
        probability: probability of a restart at a snapshot, in [0, 1], or a schedule.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.

    Source: Chavdarova et al. 2019 (arXiv:1904.08598), section 3; the probability from its code.
    """
    plain = svre(every, optimizer, learning_rate)
    return replace(plain, scheme=Restarting(plain.scheme, probability))


@registered(
    cost=100,
    memory="–",
    use="to study training without noise; the cost is 2 per batch of the dataset (here 50 or 100 of them)",
    limits="small datasets only",
    points=25_600,
)
def full_batch(optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """GD-GAN: alternating gradient descent on the whole stored dataset, without noise.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, section 5.2.
    """
    return Method(FullBatch(), Alternating(), named_optimizer(optimizer, learning_rate, 0.01))


@registered(
    cost=8,
    memory="RMSProp 1",
    use="instead of consensus if batches must be small",
    limits="is slow: per-sample second derivatives make a step ten times as slow as with consensus",
)
def debiased_consensus(
    strength: float | Schedule = 10.0, optimizer: Optimizer | str = "rmsprop_tensorflow", learning_rate: Rate = None
) -> Method:
    """Consensus optimisation with an unbiased estimate of ½‖v‖² from small batches.

    Args:
        strength: γ, ≥ 0.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-4.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 15 and the remark after it.
    """
    return Method(DebiasedConsensus(strength), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4))
