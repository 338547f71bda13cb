"""Methods that look at how players answer one another: second derivatives across them, and imagined steps."""

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
from detente.schemes.simultaneous import Simultaneous


@registered(
    memory="RMSProp 1",
    use="where consensus would settle at an unstable point",
    limits="needs both Jv and Jᵀv in every step",
)
def symplectic_adjustment(
    strength: float = 1.0,
    align: bool = True,
    optimizer: Optimizer | str = "rmsprop_tensorflow",
    learning_rate: Rate = None,
) -> Method:
    """Symplectic gradient adjustment (SGA): the gradient turned against the game's rotation, v + λ Aᵀv.

    Args:
        strength: λ, ≥ 0.
        align: whether λ's sign is chosen at each step so that unstable fixed points repel.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-4.

    Source: Balduzzi et al. 2018, The Mechanics of n-Player Differentiable Games (arXiv:1802.05642), Algorithm 1.
    """
    return Method(Symplectic(strength, align), Simultaneous(), named_optimizer(optimizer, learning_rate, 1e-4))


@registered(
    memory="last solution 1",
    use="for small zero-sum games with strong interaction",
    limits="zero-sum games only; the cost counts ten products of conjugate gradients, most steps need fewer",
    objective="minimax",
)
def competitive(learning_rate: float = 1e-3, iterations: int = 10, tolerance: float = 1e-6) -> Method:
    """Competitive gradient descent (CGD): both step to the equilibrium of the local bilinear game.

    Args:
        learning_rate: η, > 0, of both players and of the local game; the paper's examples use 0.2.
        iterations: of conjugate gradients, at most, ≥ 1; each costs two gradients.
        tolerance: of the local game's residual, relative, ≥ 0.

    Source: Schäfer & Anandkumar 2019, Competitive Gradient Descent (arXiv:1905.12103), Algorithm 1.
    """
    require_one_rate(learning_rate, "The local game has one rate for both players", scheduled=False)
    return Method(Competitive(learning_rate, iterations, tolerance), Simultaneous(), SGD(learning_rate))


@registered(
    memory="moments 1 + last solution 1",
    use="for zero-sum GANs without penalties, if several times Adam's time is acceptable",
    limits="as `competitive`",
    objective="minimax",
)
def adaptive_competitive(learning_rate: float = 1e-4, iterations: int = 10, tolerance: float = 1e-6) -> Method:
    """Adaptive competitive gradient descent (ACGD): CGD with a rate for each parameter from second moments.

    Args:
        learning_rate: η, > 0, of both players and of the local game; 1e-4 for GANs.
        iterations: of conjugate gradients, at most, ≥ 1; each costs two gradients.
        tolerance: of the local game's residual, relative, ≥ 0.

    Source: Schäfer, Zheng & Anandkumar 2020, Implicit Competitive Regularization in GANs (arXiv:1910.05852).
    """
    require_one_rate(learning_rate, "The local game has one rate for both players", scheduled=False)
    field = AdaptiveCompetitive(learning_rate, iterations=iterations, tolerance=tolerance)
    return Method(field, Simultaneous(), SGD(learning_rate))


@registered(
    memory="moments 1",
    use="where the end must be a local minimax point",
    limits="zero-sum games only; needs large batches",
    objective="minimax",
)
def follow_the_ridge(
    learning_rate: float = 2e-4, damping: float = 1.0, iterations: int = 5, decay: float | None = 0.999
) -> Method:
    """Follow the ridge: the discriminator also makes up for the generator's step, so only local minimax attracts.

    Args:
        learning_rate: η, > 0, of both players.
        damping: d of the solved system, ≥ 0; 0 is exact where the discriminator's curvature can be inverted.
        iterations: of conjugate gradients, at most, ≥ 1; each costs two gradients.
        decay: β of the preconditioner, in [0, 1); none for the plain method, as in the paper's small games (η = 0.05).

    Source: Wang, Zhang & Ba 2020, On Solving Minimax Optimization Locally (arXiv:1910.07512), Algorithm 1.
    """
    require_one_rate(learning_rate, "The discriminator makes up for the generator's step, which has the same rate")
    field = FollowTheRidge(damping=damping, iterations=iterations, decay=decay)
    return Method(field, Simultaneous(), SGD(learning_rate))


@registered(
    memory="Adam 2",
    use="against collapsing and cycling modes on small networks",
    limits="holds K graphs of the discriminator's steps in memory at once",
)
def unrolled(
    steps: int = 5,
    inner: Literal["gradient", "adam"] = "adam",
    learning_rate: float = 1e-4,
    generator_learning_rate: float = 1e-3,
) -> Method:
    """Unrolled GAN: the generator's gradient goes through K imagined steps of the discriminator, which takes one.

    Args:
        steps: K, ≥ 1.
        inner: the imagined steps: "adam", as the real ones, or "gradient" (plain).
        learning_rate: the discriminator's, of real and imagined steps, > 0.
        generator_learning_rate: the generator's, > 0.

    Source: Metz et al. 2017, Unrolled Generative Adversarial Networks (arXiv:1611.02163), section 2.2; the authors'
        code of the mixture for K, rates and Adam.
    """
    require_one_rate(
        learning_rate, "It is the discriminator's; generator_learning_rate is the generator's", scheduled=False
    )
    betas = (0.5, 0.999)
    optimizers = {"generator": Adam(generator_learning_rate, betas), "discriminator": Adam(learning_rate, betas)}
    return Method(Unrolled(steps, learning_rate, inner, betas, player="generator"), Simultaneous(), optimizers)
