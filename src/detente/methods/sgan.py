"""SGAN: an ensemble of independent pairs teaches a global one."""

from __future__ import annotations

from typing import Literal

from detente.fields.gradient import Gradient
from detente.methods.base import Rate, named_optimizer, registered
from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.schemes.alternating import Alternating
from detente.schemes.sgan import Sgan


@registered(
    memory="N + 1 times Adam 2, N more pairs",
    use="when single trainings collapse now and then, and the cost of N is acceptable",
    limits="is expensive: N = 5 pairs by default; with one messenger step it does not train the "
    "global pair of a DCGAN (try `messenger_steps` 5)",
)
def sgan(
    pairs: int = 5,
    discriminator_turns: int = 1,
    messenger_memory: Literal["cloned", "fresh"] = "cloned",
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
    messenger_steps: int | None = None,
) -> Method:
    """SGAN: N pairs trained apart, and a global pair, which is what is measured and sampled, trained against them all.

    Args:
        pairs: N, number of local pairs, ≥ 1; the paper uses 5 or 10.
        discriminator_turns: I_D, a local discriminator's turns for each of its generator's, ≥ 1.
        messenger_memory: whether messengers take over their originals' optimizer memory ("cloned") or none ("fresh").
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-5, the paper's for points and images alike, with Adam's
            betas 0.5 and 0.999.
        messenger_steps: a messenger's steps against the global generator, ≥ 1; default I_D, as in the paper. Five or
            ten where the global generator learns nothing while the local ones do: a messenger that is cloned anew in
            every step and takes one knows little of it (`detente reproduce sgan_dcgan`).

    Source: Chavdarova & Fleuret 2018 (arXiv:1712.02330), Algorithm 1; supplementary material for the rate.
    """
    steps = discriminator_turns if messenger_steps is None else messenger_steps
    scheme = Sgan(_local(discriminator_turns), pairs, True, steps, messenger_memory)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 1e-5))


@registered(
    memory="as `sgan`",
    use="to see what sharing half of the parameters costs",
    limits="is no cheaper than `sgan`; its authors found it worse for DCGANs",
)
def weight_shared_sgan(
    pairs: int = 5,
    share: float = 0.5,
    discriminator_turns: int = 1,
    optimizer: Optimizer | str = "adam",
    learning_rate: Rate = None,
) -> Method:
    """Weight-shared SGAN (N-SW): SGAN whose networks have about half of their parameters in common.

    Args:
        pairs: N, number of local pairs, ≥ 1.
        share: part of each network's parameters that all share, in [0, 1): the discriminators' first, the generators'
            last.
        discriminator_turns: I_D, as in `sgan`, ≥ 1.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-5.

    Source: Chavdarova & Fleuret 2018 (arXiv:1712.02330), section 4.1 and supplementary material (N-SW-). Which half is
        shared and what moves it is our reading; see `Sgan`.
    """
    scheme = Sgan(_local(discriminator_turns), pairs, True, discriminator_turns, share=share)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 1e-5))


@registered(
    memory="as `sgan`",
    use="to see what messengers add",
    limits="is worse than `sgan`: the local discriminators have never seen the global generator",
)
def simplified_sgan(
    pairs: int = 5, discriminator_turns: int = 1, optimizer: Optimizer | str = "adam", learning_rate: Rate = None
) -> Method:
    """Simplified SGAN: the global generator meets the local discriminators themselves, which have never seen it.

    Args:
        pairs: N, number of local pairs, ≥ 1.
        discriminator_turns: a local discriminator's turns for each of its generator's, ≥ 1.
        optimizer: an optimizer or its name.
        learning_rate: the named optimizer's rate; default 1e-5.

    Source: Chavdarova & Fleuret 2018 (arXiv:1712.02330), section 3.
    """
    scheme = Sgan(_local(discriminator_turns), pairs, messengers=False)
    return Method(Gradient(), scheme, named_optimizer(optimizer, learning_rate, 1e-5))


def _local(discriminator_turns: int) -> Alternating:
    return Alternating(turns={"discriminator": discriminator_turns} if discriminator_turns != 1 else {})
