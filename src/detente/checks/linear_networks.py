"""Whether several layers of a network are equivalent to one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from detente.checks.base import Check, Finding, Setup
from detente.modules.calling import copied, write
from detente.modules.functional_call import part_of
from detente.modules.net import Call
from detente.modules.randomness import seeded
from detente.modules.replaced_activations import last_activation


@dataclass(frozen=True)
class LinearNetworks(Check):
    """A network of several layers whose output, before a last activation, is an affine function of its first input.

    Then f(a) + f(b) = f(c) + f(a + b − c). Such a generator only turns and stretches its latents: its samples are
    Gaussian if these are. Such a discriminator compares means only.

    Args:
        error: largest difference of both sides, relative to the deviation of the outputs, of an affine function;
            rounding leaves up to 1e-5 of it in float32.

    Source: Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.1: layers without a nonlinearity between them
        are one linear layer.
    """

    error: float = 1e-4

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for each such network."""
        findings = []
        _ = setup.small_batch  # which computes the gradients on few samples, if it can
        effects = {
            setup.generator: (setup.generator_call, "its samples are its latents, only rotated, scaled and shifted"),
            setup.discriminator: (setup.discriminator_call, "it only compares means of the samples"),
        }
        for player, (call, effect) in effects.items():
            pieces = setup.game.layouts[player].unflatten(setup.gradients[player]).values()
            layers = sum(piece.dim() > 1 and bool(piece.any()) for piece in pieces)  # without those that are not used
            if layers < 2 or not self._affine(setup, player, call):
                continue
            evidence = f"The {player}'s {layers} layers of weights are together one linear layer: {effect}."
            remedy = f"Put an activation, such as LeakyReLU(0.2), between the {player}'s layers."
            findings.append(Finding("wiring", evidence, 0.7, remedy))
        return findings

    def _affine(self, setup: Setup, player: str, call: Call) -> bool:
        first = call.inputs[0] if call.inputs else None
        if not isinstance(first, Tensor) or not first.is_floating_point() or len(first) < 3:
            return False
        a, b, c = first, 2 * first.roll(1, 0), 3 * first.roll(2, 0)
        module = copied(setup.module(player))
        write(module, setup.game.layouts[player], setup.awake[player], setup.point[1][player], player)
        last, inputs_of_last = last_activation(module), []
        if last is not None:
            last.register_forward_hook(lambda _, inputs, output: inputs_of_last.append(inputs[0]))

        def outputs(x: Tensor) -> Tensor:
            inputs_of_last.clear()
            arguments = tree_map_only(Tensor, torch.clone, ((x, *call.inputs[1:]), dict(call.keywords)))
            with torch.no_grad(), seeded(0, torch.device("cpu"), setup.game.sources):
                output: Any = (part_of(module, call.part) if call.part else module)(*arguments[0], **arguments[1])
            return (inputs_of_last[-1] if inputs_of_last else output).double()

        at_a, at_b, at_c, at_sum = map(outputs, (a, b, c, a + b - c))
        deviation = float(torch.cat([at_a, at_b, at_c]).std(0).mean())
        return deviation > 0 and float((at_a + at_b - at_c - at_sum).abs().max()) <= self.error * deviation
