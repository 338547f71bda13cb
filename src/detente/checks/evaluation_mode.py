"""Whether a generator's samples are the same in training and in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from detente.checks.base import Check, Finding, Setup
from detente.modules.calling import copied, write
from detente.modules.functional_call import part_of
from detente.modules.net import Call
from detente.modules.randomness import seeded

# Layers of torch that do the same in both modes; whatever else there is gets tried.
PLAIN = tuple(
    f"torch.nn.modules.{name}" for name in ("linear", "conv", "activation", "container", "flatten", "upsampling")
)


@dataclass(frozen=True)
class EvaluationMode(Check):
    """A generator whose samples change when it is switched to evaluation, for another reason than BatchNorm's start.

    The running statistics of BatchNorm are first set to those of the batch, as after some training: where they never
    follow (momentum 0), where dropout changes the samples, or a module does something else, a difference remains. It is
    one of a normalisation if a sample depends on the others of its batch in training, and not by BatchNorm.

    Args:
        difference: largest accepted mean |difference|, relative to the samples' standard deviation.

    Source: Ioffe & Szegedy 2015, Batch Normalization (arXiv:1502.03167), Algorithm 2.
    """

    difference: float = 0.3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        player, call = setup.generator, setup.generator_call
        kinds = {type(part).__module__ for part in setup.module(player).modules()}
        if all(kind in PLAIN for kind in kinds):
            return []
        module = copied(setup.module(player))
        write(module, setup.game.layouts[player], setup.point[0][player], setup.point[1][player], player)
        norms = {n: m for n, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
        frozen = [name for name, norm in norms.items() if norm.momentum == 0 and norm.track_running_stats]
        dropouts = [n for n, m in module.named_modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
        for name, norm in norms.items():
            if name not in frozen:
                norm.momentum = 1.0  # the statistics become those of one batch
        with seeded(0, torch.device("cpu"), setup.game.sources):
            trained = _called(module.train(), call)
        with seeded(0, torch.device("cpu"), setup.game.sources):
            evaluated = _called(module.eval(), call)
        spread = float(trained.double().std())
        difference = float((trained.double() - evaluated.double()).abs().mean()) / max(spread, 1e-12)
        if difference <= self.difference or spread == 0:
            return []
        evidence = (
            f"The {player}'s samples change by {difference:.2g} standard deviations from training to evaluation mode"
        )
        if frozen:
            evidence += f": the running statistics of {', '.join(frozen[:3])} never change, since momentum is 0."
            return [Finding("normalisation", evidence, 0.9, "Give BatchNorm its default momentum, 0.1.")]
        if dropouts:
            evidence += f", with dropout in {', '.join(dropouts[:3])}."
            remedy = f"Remove dropout from the {player}, or lower it; or draw samples in training mode."
            return [Finding("sampling", evidence, 0.5, remedy)]
        remedy = f"Let the {player} do the same in both modes (look for self.training)."
        if not norms and self._has_mates(setup, module.train(), call, trained):
            evidence += ", and in training they depend on the other samples of the batch: your own normalisation."
            return [Finding("normalisation", evidence, 0.8, remedy)]
        return [Finding("sampling", f"{evidence}, apart from BatchNorm.", 0.8, remedy)]

    def _has_mates(self, setup: Setup, module: nn.Module, call: Call, samples: Tensor) -> bool:
        """Whether samples change with the latents of the other half of their batch."""
        first = call.inputs[0] if call.inputs else None
        if not isinstance(first, Tensor) or not first.is_floating_point() or len(first) < 4 or len(samples) < 4:
            return False
        half = len(first) // 2
        others = torch.cat([first[:half], 3 * first[half:]])
        with seeded(0, torch.device("cpu"), setup.game.sources):
            changed = _called(module, Call(call.part, (others, *call.inputs[1:]), call.keywords))
        change = (changed - samples)[: len(samples) // 2].abs().max()
        return float(change) > 1e-3 * float(samples.std())


@torch.no_grad()
def _called(module: nn.Module, call: Call) -> Tensor:
    inputs, keywords = tree_map_only(Tensor, torch.clone, (call.inputs, dict(call.keywords)))
    target = part_of(module, call.part) if call.part else module
    return target(*inputs, **keywords)
