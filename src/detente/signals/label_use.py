"""Whether other labels change what the networks return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from detente.checks.base import Finding
from detente.modules.calling import evaluating
from detente.modules.net import Call
from detente.nested import tensors_of
from detente.signals.base import History, Observation, Signal, finite, measured


@dataclass(frozen=True)
class LabelUse(Signal):
    """How much samples and scores change with other labels (integers in the inputs), relative to other latents.

    Args:
        ignored: relative change below which labels are ignored.

    Source: Mirza & Osindero 2014, Conditional Generative Adversarial Nets (arXiv:1411.1784): both networks use them.
    """

    ignored: float = 0.02

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the change of the samples and of the scores; empty for networks without labels."""
        gan, state, values = observation.gan, observation.state, {}
        generator = torch.Generator().manual_seed(29)
        batch = observation.batch
        if all(x.is_floating_point() or x.dim() == 0 for x in batch.values()):
            return {}
        with torch.no_grad():
            calls = gan.generator_inputs(state.vectors, state.buffers, batch, generator)
            if calls and (other := _relabelled(calls[0])) is not None:
                first, second = (self._output(observation, gan.generator, call) for call in (calls[0], other))
                usual = (first - first.roll(1, 0)).square().mean().sqrt()
                values["generator"] = (first - second).square().mean().sqrt() / usual.clamp(min=1e-12)
            inputs, keywords = gan.discriminator_inputs(batch)
            call = Call(gan.discriminator_part, (gan.real_of(batch), *inputs), keywords)
            if (other := _relabelled(call, skip=1)) is not None:
                first, second = (self._output(observation, gan.discriminator, each) for each in (call, other))
                usual = (first - first.roll(1, 0)).square().mean().sqrt()
                values["discriminator"] = (first - second).square().mean().sqrt() / usual.clamp(min=1e-12)
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return labels that are ignored."""
        for role, certainty in (("generator", 0.85), ("discriminator", 0.75)):
            changes = finite(history.late(f"label_use.{role}"))
            if len(changes) >= 2 and changes.max() < self.ignored and history.trend(f"label_use.{role}") < 2:
                evidence = (
                    f"Other labels change the {role}'s output by {np.median(changes):.1%} of what other samples do."
                )
                remedy = f"Use the labels in the {role}'s forward, e.g. an embedding joined to its input."
                sure = 0.95 if changes.max() == 0 else certainty
                return [Finding("labels ignored", evidence, sure, remedy)]
        return []

    def _output(self, observation: Observation, player: str, call: Call) -> Tensor:
        state, game = observation.state, observation.game
        inputs = tree_map_only(Tensor, lambda x: _like(x, state.vectors[player].dtype), call.inputs)
        with evaluating(game.modules[player]):
            net = game._net(state.vectors, state.buffers)
            output = net.call(player, Call(call.part, inputs, call.keywords), update=False)
        leaves: list[Any] = [x for x in tensors_of(output) if x.is_floating_point()]
        return torch.cat([x.reshape(len(x), -1).double() for x in leaves], 1)


def _like(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def _relabelled(call: Call, skip: int = 0) -> Call | None:
    """Return a call with other labels, or None if it has none."""
    has_labels = False

    def other(x: Tensor) -> Tensor:
        nonlocal has_labels
        if x.is_floating_point() or x.dtype == torch.bool or x.dim() == 0 or int(x.max()) == int(x.min()):
            return x
        has_labels = True
        values = x.unique()
        return values[(torch.searchsorted(values, x) + 1) % len(values)]  # the next label that occurs

    inputs = tree_map_only(Tensor, other, call.inputs[skip:])
    keywords = tree_map_only(Tensor, other, dict(call.keywords))
    return Call(call.part, (*call.inputs[:skip], *inputs), keywords) if has_labels else None
