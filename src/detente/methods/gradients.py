"""Classical gradient methods, consensus optimisation, and WGAN's weight clipping."""

from __future__ import annotations

from typing import Literal

from detente.fields.consensus import Consensus
from detente.fields.gradient import Gradient
from detente.fields.smoothing import Smoothing
from detente.methods.base import Betas, Rate, gan_optimizers, named_optimizer, registered
from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped import Clipped
from detente.schedules.base import Schedule
from detente.schemes.alternating import Alternating
from detente.schemes.extragradient import Extragradient
from detente.schemes.optimistic import Optimistic
from detente.schemes.past_extragradient import PastExtragradient
from detente.schemes.shared_batch import SharedBatch
from detente.schemes.simultaneous import Simultaneous


@registered(
    cost=2,
    memory="RMSProp 1",
    use="as the baseline of the theory; one forward pass serves both players",
    limits="does not damp rotation: on the bilinear game, plain steps of any size spiral outwards",
)
def simultaneous(optimizer: Optimizer | str = "rmsprop_tensorflow", learning_rate: Rate = None) -> Method:
    """Simultaneous gradient descent (SimGA): all players move at once along the plain gradient.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-4.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Algorithm 1.
    """
    return Method(Gradient(), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4))


@registered(
    cost=2,
    memory="Adam 2",
    use="first, since it is the usual training of GANs",
    limits="on the bilinear game, plain steps stay on a cycle",
)
def alternating(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    discriminator_turns: int = 1,
    order: tuple[str, ...] | None = None,
    betas: Betas = None,
    clip: float | Schedule | None = None,
) -> Method:
    """Alternating gradient descent (AltGA): the usual training of GANs.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4.
        discriminator_turns: turns of the discriminator per turn of the generator, ≥ 1.
        order: the players in the order in which they move; default: the discriminator first.
        betas: (β₁, β₂) of the named optimizer, each in [0, 1); default its own, for Adam (0.5, 0.999).
        clip: largest norm of each player's gradient, > 0, or a schedule; default no bound.

    Source: Goodfellow et al. 2014, Algorithm 1; Radford et al. 2016 for the rate.
    """
    turns = {"discriminator": discriminator_turns} if discriminator_turns != 1 else {}
    return Method(Gradient(), Alternating(order, turns), named_optimizer(optimizer, learning_rate, 2e-4, betas, clip))


@registered(
    cost=2,
    memory="Adam 2",
    use="instead of `alternating`, for a twelfth less work: samples are generated once, as in PyTorch's tutorial",
    limits="the generator's turn has no independent noise",
)
def alternating_shared_batch(optimizer: Optimizer | str = "adam", learning_rate: Rate = None) -> Method:
    """Alternating gradient descent as in PyTorch's tutorial: both turns use one batch, which is generated once.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4.

    Source: Goodfellow et al. 2014, Algorithm 1, except the second batch; Radford et al. 2016 for the rate.
    """
    return Method(Gradient(), SharedBatch(), named_optimizer(optimizer, learning_rate, 2e-4))


@registered(
    cost=4,
    memory="Adam 2",
    use="if losses oscillate; it adds no hyper-parameters",
    limits="each step evaluates the field twice",
)
def extragradient(
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    betas: Betas = None,
    clip: float | Schedule | None = None,
) -> Method:
    """Extragradient: a trial step, then a move from the original point; with Adam, this is ExtraAdam.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4.
        betas: (β₁, β₂) of the named optimizer, each in [0, 1); default its own, for Adam (0.5, 0.999).
        clip: largest norm of each player's gradient, > 0, or a schedule; default no bound.

    Source: Korpelevich 1976; Gidel et al. 2019 (arXiv:1802.10551), Algorithms 2 and 4.
    """
    return Method(Gradient(), Extragradient(), named_optimizer(optimizer, learning_rate, 2e-4, betas, clip))


@registered(
    cost=2,
    memory="Adam 2 + last field 1",
    use="for the effect of extragradient with one evaluation per step",
    limits="needs smaller steps than extragradient",
)
def past_extragradient(optimizer: Optimizer | str = "adam", learning_rate: Rate = None) -> Method:
    """Extragradient from the past: the trial step reuses the last gradient, so a step needs only one.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4.

    Source: Popov 1980; Gidel et al. 2019 (arXiv:1802.10551), section 3.2.
    """
    return Method(Gradient(), PastExtragradient(), named_optimizer(optimizer, learning_rate, 2e-4))


@registered(
    cost=2,
    memory="last field 1",
    use="with plain SGD, against rotation at the lowest cost",
    limits='is not "optimistic Adam": it extrapolates fields, not Adam\'s moves',
)
def optimistic(optimizer: Optimizer | str = "sgd", learning_rate: Rate = None) -> Method:
    """Optimistic mirror descent: steps along the next gradient, predicted from the last two.

    Args:
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.01.

    Source: Daskalakis et al. 2018, Training GANs with Optimism (arXiv:1711.00141), eq. 6.
    """
    return Method(Gradient(), Optimistic(), named_optimizer(optimizer, learning_rate, 0.01))


@registered(
    cost=4,
    memory="RMSProp 1",
    use="for small and medium-sized networks, if the Jacobian's eigenvalues are mostly imaginary",
    limits="fails with BatchNorm; on small images it was behind alternating training with BatchNorm; is biased on "
    "mini-batches; a large strength also attracts to stationary points that are not minima",
)
def consensus(
    strength: float | Schedule = 10.0,
    optimizer: Optimizer | str = "rmsprop_tensorflow",
    learning_rate: Rate = None,
    betas: Betas = None,
    clip: float | Schedule | None = None,
) -> Method:
    """Consensus optimisation: simultaneous gradient descent with a pull ∇ ½‖v‖² towards stationary points.

    Args:
        strength: γ, ≥ 0, or a schedule; 10 for the mixture, 0.1 or 10 for images.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-4.
        betas: (β₁, β₂) of the named optimizer, each in [0, 1); default its own, for Adam (0.5, 0.999).
        clip: largest norm of each player's gradient, > 0, or a schedule; default no bound.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Algorithm 2.
    """
    return Method(Consensus(strength), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4, betas, clip))


@registered(
    cost=3,
    memory="RMSProp 1",
    use='instead of consensus with BatchNorm: only the discriminator is regularised (`definition="code"`: 4)',
    limits="does not damp the rotation of the generator; doing better than consensus with BatchNorm was not shown",
)
def smoothing(
    strength: float | Schedule = 10.0,
    definition: Literal["paper", "code"] = "paper",
    optimizer: Optimizer | str = "rmsprop_tensorflow",
    learning_rate: Rate = None,
) -> Method:
    """Consensus optimisation for the discriminator only, which also works with BatchNorm.

    Args:
        strength: γ, ≥ 0, or a schedule.
        definition: the paper's regulariser ½‖v‖², or its code's ½‖v_G‖².
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-4.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, supplementary material.
    """
    return Method(Smoothing(strength, definition), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4))


@registered(
    cost=6,
    memory="RMSProp 1",
    use='to reproduce WGAN, with `objective="wasserstein"`',
    limits="clipping limits the critic's capacity (Gulrajani et al. 2017, section 3)",
)
def wasserstein_clipping(
    bound: float = 0.01,
    discriminator_turns: int = 5,
    optimizer: Optimizer | str = "rmsprop",
    learning_rate: Rate = None,
) -> Method:
    """WGAN's training: five turns of the critic with clipped weights; use it with the Wasserstein objective.

    Args:
        bound: clips the critic's weights to [−bound, bound].
        discriminator_turns: turns of the critic per turn of the generator, ≥ 1.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 5e-5.

    Source: Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), Algorithm 1.
    """
    plain = gan_optimizers(optimizer, learning_rate, 5e-5)
    players = {**plain, "discriminator": Clipped(plain["discriminator"], bound)}
    return Method(Gradient(), Alternating(turns={"discriminator": discriminator_turns}), players)
