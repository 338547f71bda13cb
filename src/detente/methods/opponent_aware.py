"""Methods that anticipate the opponent's response, with mixed second derivatives or simulated steps."""

from __future__ import annotations

from typing import Literal

from detente.fields.adaptive_competitive import AdaptiveCompetitive
from detente.fields.competitive import Competitive
from detente.fields.follow_the_ridge import FollowTheRidge
from detente.fields.symplectic import Symplectic
from detente.fields.unrolled import Unrolled
from detente.methods.base import Rate, named_optimizer, registered, require_one_rate
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.sgd import SGD
from detente.schedules.base import Schedule
from detente.schemes.simultaneous import Simultaneous


@registered(
    cost=6,
    memory="RMSProp 1",
    use="if consensus would converge to an unstable point",
    limits="needs both Jv and Jᵀv in each step",
)
def symplectic_adjustment(
    strength: float | Schedule = 1.0,
    align: bool = True,
    optimizer: Optimizer | str = "rmsprop_tensorflow",
    learning_rate: Rate = None,
) -> Method:
    """Symplectic gradient adjustment (SGA): the gradient corrected for the game's rotation, v + λ Aᵀv.

    Args:
        strength: λ, ≥ 0, or a schedule.
        align: whether to choose the sign of λ in each step so that unstable fixed points repel.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 1e-4.

    Source: Balduzzi et al. 2018, The Mechanics of n-Player Differentiable Games (arXiv:1802.05642), Algorithm 1.
    """
    return Method(Symplectic(strength, align), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4))


@registered(
    cost=26,
    memory="last solution 1",
    use="for small zero-sum games with strong interaction",
    limits="zero-sum games only; the cost assumes ten conjugate-gradient iterations, but most steps need fewer",
    objective="minimax",
)
def competitive(learning_rate: float | Schedule = 1e-3, iterations: int = 10, tolerance: float = 1e-6) -> Method:
    """Competitive gradient descent (CGD): both players step to the equilibrium of the local bilinear game.

    Args:
        learning_rate: η, > 0, or a schedule, of both players and of the local game; the paper's examples use 0.2.
        iterations: maximum number of conjugate-gradient iterations, ≥ 1; each costs two gradients.
        tolerance: relative tolerance of the local game's residual, ≥ 0.

    Source: Schäfer & Anandkumar 2019, Competitive Gradient Descent (arXiv:1905.12103), Algorithm 1.
    """
    require_one_rate(learning_rate, "The local game has one rate for both players")
    return Method(Competitive(learning_rate, iterations, tolerance), Simultaneous(), SGD(learning_rate))


@registered(
    cost=26,
    memory="moments 1 + last solution 1",
    use="for zero-sum GANs without penalties, if several times Adam's time is acceptable",
    limits="as `competitive`",
    objective="minimax",
)
def adaptive_competitive(
    learning_rate: float | Schedule = 1e-4, iterations: int = 10, tolerance: float = 1e-6
) -> Method:
    """Adaptive competitive gradient descent (ACGD): CGD with a rate per parameter, computed from second moments.

    Args:
        learning_rate: η, > 0, or a schedule, of both players and of the local game; 1e-4 for GANs.
        iterations: maximum number of conjugate-gradient iterations, ≥ 1; each costs two gradients.
        tolerance: relative tolerance of the local game's residual, ≥ 0.

    Source: Schäfer, Zheng & Anandkumar 2020, Implicit Competitive Regularization in GANs (arXiv:1910.05852).
    """
    require_one_rate(learning_rate, "The local game has one rate for both players")
    field = AdaptiveCompetitive(learning_rate, iterations=iterations, tolerance=tolerance)
    return Method(field, Simultaneous(), SGD(learning_rate))


@registered(
    cost=14,
    memory="moments 1",
    use="if training must converge to a local minimax point",
    limits="zero-sum games only; needs large batches",
    objective="minimax",
)
def follow_the_ridge(
    learning_rate: float | Schedule = 2e-4,
    damping: float | Schedule = 1.0,
    iterations: int = 5,
    decay: float | None = 0.999,
) -> Method:
    """Follow the ridge: the discriminator compensates for the generator's step, so only local minimax points attract.

    Args:
        learning_rate: η, > 0, or a schedule, of both players.
        damping: d of the linear system, ≥ 0, or a schedule; 0 is exact if the discriminator's curvature can be
            inverted.
        iterations: maximum number of conjugate-gradient iterations, ≥ 1; each costs two gradients.
        decay: β of the preconditioner, in [0, 1), or None for the plain method, as in the paper's small games
            (η = 0.05).

    Source: Wang, Zhang & Ba 2020, On Solving Minimax Optimization Locally (arXiv:1910.07512), Algorithm 1.
    """
    require_one_rate(learning_rate, "The discriminator compensates for the generator's step, which has the same rate")
    field = FollowTheRidge(damping=damping, iterations=iterations, decay=decay)
    return Method(field, Simultaneous(), SGD(learning_rate))


@registered(
    cost=6,
    memory="Adam 2",
    use="against mode collapse and mode cycling in small networks",
    limits="keeps the graphs of K discriminator steps in memory",
)
def unrolled(
    steps: int = 5,
    inner: Literal["gradient", "adam"] = "adam",
    learning_rate: float | Schedule = 1e-4,
    generator_learning_rate: float | Schedule = 1e-3,
    betas: tuple[float, float] = (0.5, 0.999),
) -> Method:
    """Unrolled GAN: the generator's gradient passes through K simulated steps of the discriminator, which takes one.

    Args:
        steps: K, ≥ 1.
        inner: the simulated steps: "adam", like the real steps, or "gradient" (plain).
        learning_rate: rate of the discriminator's real and simulated steps, > 0, or a schedule.
        generator_learning_rate: rate of the generator's steps, > 0, or a schedule.
        betas: (β₁, β₂) of Adam, each in [0, 1).

    Source: Metz et al. 2017, Unrolled Generative Adversarial Networks (arXiv:1611.02163), section 2.2; the authors'
        code of the mixture for K, rates and Adam.
    """
    require_one_rate(learning_rate, "It is the discriminator's rate; generator_learning_rate is the generator's")
    optimizers = {"generator": Adam(generator_learning_rate, betas), "discriminator": Adam(learning_rate, betas)}
    return Method(Unrolled(steps, learning_rate, inner, betas, player="generator"), Simultaneous(), optimizers)
