"""The table of papers: each published method as its triple of field, scheme and optimizer, with the paper's defaults.

Most functions take `optimizer`, the name of a member of `detente.optimizers` or a built one, and `learning_rate`,
which goes to a named optimizer (default: the one stated): one rate for all players, or one for each (two time-scales),
by name or in the order of the game's players. Its docstring ends with `Choose:` (when to) and `Source:`.
"""

import inspect
from collections.abc import Callable

from detente.method import Method
from detente.methods.accept_reject import accept_reject, random_proposal
from detente.methods.gradients import (
    alternating,
    alternating_shared_batch,
    consensus,
    extragradient,
    optimistic,
    past_extragradient,
    simultaneous,
    smoothing,
    wasserstein_clipping,
)
from detente.methods.langevin import ccadl, covariance_langevin, sgld, sgnht
from detente.methods.later import averaged, extra_adam, lookahead, nested_lookahead, optimistic_adam
from detente.methods.opponent_aware import (
    adaptive_competitive,
    competitive,
    follow_the_ridge,
    symplectic_adjustment,
    unrolled,
)
from detente.methods.r3gan import r3gan
from detente.methods.sgan import sgan, simplified_sgan, weight_shared_sgan
from detente.methods.svrg import (
    debiased_consensus,
    full_batch,
    svre,
    svre_averaged,
    svre_restarted,
    svrg,
    svrg_discriminator,
    svrg_shared_batch,
)

__all__ = [
    "accept_reject",
    "adaptive_competitive",
    "alternating",
    "alternating_shared_batch",
    "averaged",
    "ccadl",
    "competitive",
    "consensus",
    "covariance_langevin",
    "debiased_consensus",
    "extra_adam",
    "extragradient",
    "follow_the_ridge",
    "full_batch",
    "lookahead",
    "nested_lookahead",
    "optimistic",
    "optimistic_adam",
    "past_extragradient",
    "r3gan",
    "random_proposal",
    "sgan",
    "simplified_sgan",
    "sgld",
    "sgnht",
    "simultaneous",
    "smoothing",
    "svre",
    "svre_averaged",
    "svre_restarted",
    "svrg",
    "svrg_discriminator",
    "svrg_shared_batch",
    "symplectic_adjustment",
    "unrolled",
    "wasserstein_clipping",
    "weight_shared_sgan",
]


def names() -> dict[str, Callable[..., Method]]:
    """Return every method of this table by name."""
    return {
        name: member
        for name, member in sorted(globals().items())
        if inspect.isfunction(member) and inspect.signature(member).return_annotation in ("Method", Method)
    }
