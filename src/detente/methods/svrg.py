"""Methods against the noise of mini-batches: variance reduction, the whole set, and consensus without bias."""

from __future__ import annotations

from dataclasses import replace

from detente.fields.debiased_consensus import DebiasedConsensus
from detente.fields.full_batch import FullBatch
from detente.fields.variance_reduced import VarianceReduced
from detente.methods.base import Rate, gan_optimizers, named_optimizer, registered, require_one_rate
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.schemes.alternating import Alternating
from detente.schemes.averaging import Averaging
from detente.schemes.extragradient import Extragradient
from detente.schemes.restarting import Restarting
from detente.schemes.shared_batch import SharedBatch
from detente.schemes.simultaneous import Simultaneous


@registered(
    memory="snapshot 1, its gradient 1",
    use="for a stored set without BatchNorm, where noise keeps plain SGD from settling",
    limits="does not replace Adam in deep networks; needs fixed latents",
    points=25_600,
)
def svrg(every: float = 1.0, optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """SVRG-GAN: both players' gradients corrected by those at a snapshot, where the whole set was looked at.

    Args:
        every: m, epochs from snapshot to snapshot, > 0.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.01 (the paper's for MNIST; 1e-4 for Fashion-MNIST).

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, Algorithm 3.
    """
    return Method(VarianceReduced(every), Alternating(), named_optimizer(optimizer, learning_rate, 0.01))


@registered(
    memory="as `svrg`",
    use="instead of `svrg` where time counts: both turns on one batch, as its Algorithm 3 is "
    "printed (its authors' later code draws twice)",
    limits="as `svrg`",
    points=25_600,
)
def svrg_shared_batch(every: float = 1.0, optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """SVRG-GAN to the letter: the generator's turn uses the discriminator's latents again, and their samples.

    Line 14 of the printed Algorithm 3 has line 11's latents, though line 13 draws others, which the authors' later code
    uses, as `svrg` does. Both gradients are right on average; this one's forward passes serve both turns.

    Args:
        every: m, epochs from snapshot to snapshot, > 0.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.01.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, Algorithm 3 as printed.
    """
    return replace(svrg(every, optimizer, learning_rate), scheme=SharedBatch())


@registered(
    memory="snapshot 1, D's gradient 1, Adam 2 of G",
    use="as `svrg`, where the generator needs Adam's scaling",
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
        every: m, epochs from snapshot to snapshot, > 0.
        optimizer: the discriminator's, or its name.
        learning_rate: the named optimizer's rate; default 0.01.
        generator_optimizer: the generator's; default Adam with rate 1e-4 and betas (0.5, 0.999).

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, section 5.3 and figure 7a.
    """
    require_one_rate(learning_rate, "It is the discriminator's; generator_optimizer has the generator's")
    reduced = gan_optimizers(optimizer, learning_rate, 0.01)["discriminator"]
    plain = generator_optimizer or Adam(1e-4, (0.5, 0.999))
    field = VarianceReduced(every, players=("discriminator",))
    return Method(field, Alternating(), {"generator": plain, "discriminator": reduced})


@registered(
    memory="snapshot 1, its gradient 1",
    use="for a stored set, where rotation and noise are both in the way",
    limits="as `svrg`",
    points=25_600,
)
def svre(
    every: float = 1.0,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
    discriminator_learning_rate: Rate = None,
) -> Method:
    """SVRE: extragradient with variance-reduced gradients, snapshots refreshed by chance.

    Args:
        every: epochs from snapshot to snapshot on average, > 0; each step refreshes with probability 1/(steps of them).
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.01.
        discriminator_learning_rate: a rate of the discriminator's own, for a named optimizer; the paper's images: 0.04.

    Source: Chavdarova, Gidel, Fleuret & Lacoste-Julien 2019, Reducing Noise in GAN Training with Variance Reduced
        Extragradient (arXiv:1904.08598), Algorithm 1.
    """
    field = VarianceReduced(every, by_chance=True)
    if discriminator_learning_rate is None:
        return Method(field, Extragradient(), named_optimizer(optimizer, learning_rate, 0.01))
    require_one_rate(learning_rate, "It is the generator's where discriminator_learning_rate is the discriminator's")
    require_one_rate(discriminator_learning_rate, "It is the discriminator's")
    shared = gan_optimizers(optimizer, learning_rate, 0.01)["generator"]
    discriminator_optimizer = gan_optimizers(optimizer, discriminator_learning_rate, 0.04)["discriminator"]
    return Method(field, Extragradient(), {"generator": shared, "discriminator": discriminator_optimizer})


@registered(
    memory="as `svre`, average 1",
    use="instead of `svre` where its last iterate still moves around the solution",
    limits="as `svrg`",
    points=25_600,
)
def svre_averaged(
    every: float = 1.0,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
    players: tuple[str, ...] = ("generator",),
) -> Method:
    """SVRE, of which the uniform average of the iterates is measured and sampled.

    Args:
        every: epochs from snapshot to snapshot on average, > 0.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.01.
        players: who is averaged.

    Source: Chavdarova et al. 2019 (arXiv:1904.08598), section 3 and figure 2 (AVG-SVRE).
    """
    plain = svre(every, optimizer, learning_rate)
    return replace(plain, scheme=Averaging(plain.scheme, "uniform", players=players))


@registered(
    memory="as `svre`, averages 1 of both",
    use="instead of `svre` on games that are nearly bilinear",
    limits="as `svrg`; the average of deep networks' weights over a long path is no useful network",
    points=25_600,
)
def svre_restarted(
    every: float = 1.0, probability: float = 0.1, optimizer: Optimizer | str = "sgd", learning_rate: Rate = None
) -> Method:
    """Restarted SVRE: when a snapshot is taken, training now and then goes on from the average of its iterates.

    Args:
        every: epochs from snapshot to snapshot on average, > 0.
        probability: of a restart at a snapshot, in [0, 1].
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.01.

    Source: Chavdarova et al. 2019 (arXiv:1904.08598), section 3; the probability from its code.
    """
    plain = svre(every, optimizer, learning_rate)
    return replace(plain, scheme=Restarting(plain.scheme, probability))


@registered(
    memory="–",
    use="to see what training does without noise; the cost is 2 for each of the set's parts (here 50 or 100 of them)",
    limits="small sets only",
    points=25_600,
)
def full_batch(optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """GD-GAN: alternating gradient descent on the whole stored set, without any noise.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.01.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, section 5.2.
    """
    return Method(FullBatch(), Alternating(), named_optimizer(optimizer, learning_rate, 0.01))


@registered(
    memory="RMSProp 1",
    use="instead of consensus where batches must be small",
    limits="is slow: per-sample second derivatives make a step ten times as long as consensus's",
)
def debiased_consensus(
    strength: float = 10.0, optimizer: Optimizer | str = "rmsprop_tensorflow", learning_rate: Rate = None
) -> Method:
    """Consensus optimisation with an estimate of ½‖v‖² that small batches do not bias.

    Args:
        strength: γ, ≥ 0.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-4.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 15 and the remark after it.
    """
    return Method(DebiasedConsensus(strength), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4))
