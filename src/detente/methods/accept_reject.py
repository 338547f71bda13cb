"""Accept–reject min-max, with proposals by gradient and by chance."""

from __future__ import annotations

from detente.fields.gradient import Gradient
from detente.methods.base import Rate, named_optimizer, registered, require_one_rate
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.schedule import Schedule
from detente.schemes.accept_reject import AcceptReject


@registered(
    memory="Adam 2",
    use="where alternating training cycles between modes",
    limits="is slow where most proposals are rejected",
)
def accept_reject(
    ascent_steps: int = 6,
    accept_every: int | None = 4,
    accept_anyway: float | Schedule = 0.0,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
) -> Method:
    """Accept–reject min-max: the generator's move is kept only if it pays after the discriminator's answer to it.

    Args:
        ascent_steps: the discriminator's moves in answer, ≥ 1; 6 for the mixture of Gaussians, 1 for images.
        accept_every: steps 0, r, 2r, … are accepted in any case; 4 for the mixture, 5 for digits, 2 for CIFAR-10.
        accept_anyway: probability of accepting in any case, in [0, 1], or a schedule (paper: e^(−t/τ)).
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate for everybody; default, with "adam", the mixture's 1e-3 for the
            generator and 1e-4 for the discriminator; images 2e-4 for both.

    Source: Mangoubi, Sachdeva & Vishnoi 2020 (arXiv:2006.12376), Algorithm 1, and their code for all defaults.
    """
    scheme = AcceptReject(ascent_steps, accept_every=accept_every, accept_anyway=accept_anyway)
    if optimizer == "adam" and learning_rate is None:
        return Method(Gradient(), scheme, {"generator": Adam(1e-3), "discriminator": Adam(1e-4)})
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 2e-4))


@registered(
    memory="–",
    use="on test functions of a few numbers",
    limits="rarely finds a descent among thousands of parameters",
)
def random_proposal(
    spread: float = 0.5,
    ascent_steps: int = 100,
    tolerance: float = 1e-3,
    decrease: float = 0.03,
    patience: int | None = 20,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
) -> Method:
    """Accept–reject min-max with random proposals, for functions of a few numbers: a local search of x under max_y f.

    Args:
        spread: standard deviation of a proposal, > 0.
        ascent_steps: the max player's moves in answer, at most, ≥ 1.
        tolerance: slope at which the max player has answered, ≥ 0.
        decrease: by how much the value must decrease, ≥ 0.
        patience: rejections in a row after which nothing moves any more, ≥ 1; None: never.
        optimizer: the max player's optimizer or its name.
        learning_rate: the named optimizer's rate; default 0.05.

    Source: Keswani, Mangoubi, Sachdeva & Vishnoi 2022, section 5 (test functions), and their code for all defaults.
    """
    require_one_rate(learning_rate, "It is the max player's; the min player moves by chance")
    scheme = AcceptReject(ascent_steps, tolerance, decrease, spread=spread, patience=patience)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 0.05))
