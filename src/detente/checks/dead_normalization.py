"""Whether the output of normalisation layers depends on their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from detente.checks.base import Check, Finding, Setup
from detente.modules.calling import copied, write
from detente.modules.functional_call import part_of
from detente.modules.net import Call
from detente.modules.randomness import seeded


@dataclass(frozen=True)
class DeadNormalization(Check):
    """A normalisation over a single number, such as instance norm of a 1 × 1 map: its output is always 0 (or its bias).

    Args:
        variation: smallest accepted standard deviation over the samples, relative to the input's; rounding leaves
            up to 3e-5 of it in float32.

    Source: ctargon/AdvGAN-tf issue 2; junyanz/pytorch-CycleGAN-and-pix2pix issue 55.
    """

    variation: float = 1e-4

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for each network with such layers."""
        findings = []
        calls = {setup.generator: setup.generator_call, setup.discriminator: setup.discriminator_call}
        for player, call in calls.items():
            dead = self._dead(setup, player, call)
            if dead:
                evidence = (
                    f"In the {player}, the normalisation {', '.join(dead[:3])} gives every sample the same output."
                )
                remedy = "Remove normalisation where a map has one pixel, or use batch norm or layer norm there."
                findings.append(Finding("normalisation", evidence, 0.85, remedy))
        return findings

    def _dead(self, setup: Setup, player: str, call: Call) -> list[str]:
        if not any("norm" in type(part).__name__.lower() for part in setup.module(player).modules()):
            return []
        module, dead = copied(setup.module(player)), []
        write(module, setup.game.layouts[player], setup.point[0][player], setup.point[1][player], player)

        def record(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            x = inputs[0] if inputs else None
            if not isinstance(x, Tensor) or not isinstance(output, Tensor) or len(x) < 2 or len(output) != len(x):
                return
            if float(x.std(0).mean()) > 0 and float(output.std(0).mean()) <= self.variation * float(x.std(0).mean()):
                dead.append(f"{name} ({type(layer).__name__} of {tuple(x.shape[1:])})")

        norms = {n: part for n, part in module.named_modules() if "norm" in type(part).__name__.lower() and n}
        for name, part in norms.items():
            part.register_forward_hook(partial(record, name))
        inputs, named = tree_map_only(Tensor, torch.clone, (call.inputs, dict(call.keywords)))
        with torch.no_grad(), seeded(0, torch.device("cpu"), setup.game.sources):
            (part_of(module, call.part) if call.part else module)(*inputs, **named)
        return dead
