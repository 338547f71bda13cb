"""SGAN: an ensemble of independent pairs trains a global pair."""

from __future__ import annotations

from typing import Literal

from detente.fields.gradient import Gradient
from detente.methods.base import Rate, named_optimizer, registered
from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.schemes.alternating import Alternating
from detente.schemes.sgan import Sgan

MESSENGER_STEPS, RATE = 10, 2e-4


@registered(
    cost=70,
    memory="N + 1 times Adam 2, N more pairs",
    use="if single trainings sometimes collapse, and N times the cost is acceptable",
    limits="is expensive: N = 5 pairs by default, whose messengers take ten steps each; the gain over the local pairs "
    "is one of speed, at least 1.5 times but not N-fold",
)
def sgan(
    pairs: int = 5,
    discriminator_turns: int = 1,
    messenger_memory: Literal["cloned", "fresh"] = "cloned",
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    messenger_steps: int | None = None,
) -> Method:
    """SGAN: N independent pairs, and a global pair for metrics and samples that is trained against all of them.

    Args:
        pairs: N, number of local pairs, ≥ 1; the paper uses 5 or 10.
        discriminator_turns: I_D, turns of a local discriminator per turn of its generator, ≥ 1.
        messenger_memory: the messengers' optimizer memory: "cloned" from the local discriminators or "fresh".
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4, as for `alternating`, with Adam's betas 0.5 and 0.999.
            The paper's is 1e-5.
        messenger_steps: steps of a messenger against the global generator, ≥ 1; default I_D, but at least 10. The paper
            takes I_D and does not state it. Each step of the method clones new messengers, and a few steps adapt them
            so little that the global generator may move to noise that every discriminator takes for real. On the
            ring, which has no penalty, it was far from the data after 2,000 steps in one of three trainings with 10,
            and permanently lost with 5. With WGAN-GP 5 are enough.

    Source: Chavdarova & Fleuret 2018 (arXiv:1712.02330), Algorithm 1. The defaults of the rate and of the messengers
        are ours.
    """
    steps = max(discriminator_turns, MESSENGER_STEPS) if messenger_steps is None else messenger_steps
    scheme = Sgan(_local(discriminator_turns), pairs, True, steps, messenger_memory)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, RATE))


@registered(
    cost=70,
    memory="as `sgan`",
    use="to study the effect of sharing half of the parameters",
    limits="is not cheaper than `sgan`; its authors found it worse for DCGANs",
)
def weight_shared_sgan(
    pairs: int = 5,
    share: float = 0.5,
    discriminator_turns: int = 1,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
) -> Method:
    """Weight-shared SGAN (N-SW): SGAN with about half of the parameters shared between the pairs.

    Args:
        pairs: N, number of local pairs, ≥ 1.
        share: fraction of each network's parameters that all pairs share, in [0, 1): the discriminators' first and the
            generators' last.
        discriminator_turns: I_D, as in `sgan`, ≥ 1.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4, as for `sgan`.

    Source: Chavdarova & Fleuret 2018 (arXiv:1712.02330), section 4.1 and supplementary material (N-SW-). The choice of
        the shared half and of the moves that change it is our reading; see `Sgan`.
    """
    scheme = Sgan(_local(discriminator_turns), pairs, True, max(discriminator_turns, MESSENGER_STEPS), share=share)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, RATE))


@registered(
    cost=20,
    memory="as `sgan`",
    use="to study the effect of the messengers",
    limits="is worse than `sgan`: the local discriminators have never seen the global generator",
)
def simplified_sgan(
    pairs: int = 5, discriminator_turns: int = 1, optimizer: Optimizer | str = "adam", learning_rate: Rate = None
) -> Method:
    """Simplified SGAN: the global generator trains against the local discriminators, which are not trained against it.

    Args:
        pairs: N, number of local pairs, ≥ 1.
        discriminator_turns: turns of a local discriminator per turn of its generator, ≥ 1.
        optimizer: an optimizer or its name.
        learning_rate: rate of the named optimizer; default 2e-4, as for `sgan`.

    Source: Chavdarova & Fleuret 2018 (arXiv:1712.02330), section 3.
    """
    scheme = Sgan(_local(discriminator_turns), pairs, messengers=False)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, RATE))


def _local(discriminator_turns: int) -> Alternating:
    return Alternating(turns={"discriminator": discriminator_turns} if discriminator_turns != 1 else {})
