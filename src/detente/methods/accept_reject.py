"""Accept–reject min-max, with gradient proposals and with random proposals."""

from __future__ import annotations

from detente.fields.gradient import Gradient
from detente.methods.base import Rate, named_optimizer, registered, require_one_rate
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule
from detente.schemes.accept_reject import AcceptReject
from detente.schemes.accept_reject_code import AcceptRejectCode


@registered(
    cost=7,
    memory="Adam 2",
    use="if alternating training cycles between modes",
    limits="is slow if most proposals are rejected; on four Gaussians, `alternating` with six discriminator turns was "
    "not shown to be worse, on ten classes of images accept–reject was behind",
)
def accept_reject(
    ascent_steps: int = 6,
    accept_every: int | None = 4,
    accept_anyway: float | Schedule = 0.0,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
) -> Method:
    """Accept–reject min-max: keep the generator's move only if it improves its loss after the discriminator responds.

    Args:
        ascent_steps: number of the discriminator's moves in response, ≥ 1; 6 for the mixture of Gaussians, 1 for
            images.
        accept_every: r: always accept steps 0, r, 2r, …; 4 for the mixture, 5 for digits, 2 for CIFAR-10.
        accept_anyway: probability of accepting without an improvement, in [0, 1], or a schedule (paper: e^(−t/τ)).
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer, for all players. Default for "adam": the mixture's 1e-3 for the
            generator and 1e-4 for the discriminator; for images, the authors use 2e-4 for both. Otherwise 2e-4.

    Source: Mangoubi, Sachdeva & Vishnoi 2020 (arXiv:2006.12376), Algorithm 1, and their code for all defaults.
    """
    scheme = AcceptReject(ascent_steps, accept_every=accept_every, accept_anyway=accept_anyway)
    if optimizer == "adam" and learning_rate is None:
        return Method(Gradient(), scheme, {"generator": Adam(1e-3), "discriminator": Adam(1e-4)})
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 2e-4))


@registered(
    cost=7,
    memory="Adam 2",
    use="to repeat the authors' results on four Gaussians",
    limits="keeps a generator where the discriminator got better, the opposite of the paper's rule",
)
def accept_reject_code(
    ascent_steps: int = 6,
    accept_every: int | None = 4,
    paper_sign: bool = False,
    restore_both: bool = False,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
) -> Method:
    """Accept–reject as the authors' code for four Gaussians does it; see `AcceptRejectCode` for the differences.

    Args:
        ascent_steps: number of the discriminator's moves, ≥ 1; the first is simultaneous with the generator's.
        accept_every: r: always accept steps 0, r, 2r, ….
        paper_sign: accept where the discriminator got worse, as the paper says.
        restore_both: a rejection restores the discriminator, too, as the paper says.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer, for all players. Default for "adam": 1e-3 for the generator and 1e-4
            for the discriminator. Otherwise 2e-4.

    Source: the notebook for four Gaussians of Mangoubi, Sachdeva & Vishnoi 2020.
    """
    scheme = AcceptRejectCode(ascent_steps, accept_every, paper_sign, restore_both)
    if optimizer == "adam" and learning_rate is None:
        return Method(Gradient(), scheme, {"generator": Adam(1e-3), "discriminator": Adam(1e-4)})
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 2e-4))


@registered(
    cost=101,
    memory="–",
    use="for test functions of a few variables",
    limits="rarely finds an improvement with thousands of parameters",
)
def random_proposal(
    spread: float | Schedule = 0.5,
    ascent_steps: int = 100,
    tolerance: float | Schedule = 1e-3,
    decrease: float | Schedule = 0.03,
    patience: int | None = 20,
    optimizer: Optimizer | str = "sgd",
    learning_rate: Rate = None,
) -> Method:
    """Accept–reject min-max with random proposals, for functions of a few variables: a local search for min_x max_y f.

    Args:
        spread: standard deviation of a proposal, > 0.
        ascent_steps: maximum number of the max player's moves in response, ≥ 1.
        tolerance: gradient norm at which the max player stops, ≥ 0.
        decrease: required decrease of the value, ≥ 0.
        patience: number of consecutive rejections after which all moves stop, ≥ 1; None to never stop.
        optimizer: the max player's optimizer or its name.
        learning_rate: rate of the named optimizer; default 0.05.

    Source: Keswani, Mangoubi, Sachdeva & Vishnoi 2022, section 5 (test functions), and their code for all defaults.
    """
    require_one_rate(learning_rate, "It is the max player's rate; the min player moves at random")
    scheme = AcceptReject(ascent_steps, tolerance, decrease, spread=spread, patience=patience)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 0.05))
