"""Whether labels change what the networks return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial
from detente.modules.net import Call
from detente.modules.randomness import seeded


@dataclass(frozen=True)
class IgnoredLabels(Check):
    """A network that gets labels and ignores them, or almost.

    Labels are the integers (batch,), or rows with a single 1 (batch, classes), among a network's inputs; each
    is replaced by another one that occurs.

    Args:
        change: smallest accepted change of the outputs, relative to their standard deviation.

    Source: Mirza & Osindero 2014, Conditional Generative Adversarial Nets (arXiv:1411.1784): both networks use them.
    """

    change: float = 1e-3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for each network that ignores its labels."""
        findings = []
        for player, call in (
            (setup.generator, setup.generator_call),
            (setup.discriminator, setup.discriminator_call),
        ):
            inputs, keywords = call.inputs, dict(call.keywords)
            labels = [x for x in tree_leaves((inputs, keywords)) if _is_label(x)]
            if not labels:
                continue
            outputs = []
            for change in (lambda x: x, _exchanged):
                changed = Call(call.part, *tree_map_only(Tensor, change, (inputs, keywords)))
                with torch.no_grad(), seeded(0, torch.device("cpu"), setup.game.sources):
                    output = setup.game._net(*setup.point).call(player, changed, update=False)
                outputs.append(torch.cat([x.double().flatten() for x in tree_leaves(output) if isinstance(x, Tensor)]))
            first, second = outputs
            change = float((first - second).abs().max() / max(float(first.std()), 1e-12))
            if change <= self.change:
                same = "is the same" if change == 0 else f"changes by {change:.1g} standard deviations"
                evidence = f"The {player}'s output {same} if all {len(labels[0])} samples get another label."
                remedy = f"Use the labels in the {player}'s forward, e.g. an embedding that is joined to its input."
                findings.append(Finding("labels ignored", evidence, 0.95 if change == 0 else 0.7, remedy))
        return findings or self._unseen(setup) or self._others(setup)

    def _others(self, setup: Setup) -> list[Finding]:
        """Return a finding if generated samples are scored with other labels than they are generated with."""
        if isinstance(setup.game, Adversarial):
            return []
        generator_labels: list[Tensor] = []
        differing, judged = 0, 0
        for player, call in setup.calls:
            labels = [x for x in tree_leaves((call.inputs, dict(call.keywords))) if _is_label(x, least=1)]
            if player == setup.generator:
                generator_labels += [x for x in labels if _is_label(x)]
            elif player == setup.discriminator and len(labels) == 1 and isinstance(call.inputs[0], Tensor):
                generated = not bool(setup.is_real(call.inputs[0]).any())
                judged += generated
                differing += generated and not any(torch.equal(labels[0], x) for x in generator_labels)
        if not generator_labels or not judged or differing < judged:
            return []
        evidence = (
            f"The {setup.discriminator} gets other labels with the generated samples than the {setup.generator} got."
        )
        remedy = f"Give both networks the same labels: one tensor for {setup.generator} and {setup.discriminator}."
        return [Finding("labels ignored", evidence, 0.85, remedy, by_hand=True)]

    def _unseen(self, setup: Setup) -> list[Finding]:
        """Return a finding if the generator's loss depends on labels that the generator does not get."""
        labels = {name: x for name, x in setup.small_batch.items() if _is_label(x)}
        if isinstance(setup.game, Adversarial) or not labels:
            return []
        exchanged = {**setup.small_batch, **{name: _exchanged(x) for name, x in labels.items()}}
        inputs = [self._generator_inputs(setup, batch) for batch in (setup.small_batch, exchanged)]
        same = all(torch.equal(x, y) for x, y in zip(*inputs, strict=True))
        if not inputs[0] or any(map(_is_label, inputs[0])) or not same:
            return []
        before, after = (
            float(setup.game.losses(*setup.point, batch, (setup.generator,))[0][setup.generator])
            for batch in (setup.small_batch, exchanged)
        )
        if abs(after - before) <= 1e-5 * max(abs(before), 1e-6):  # beyond rounding
            return []
        evidence = (
            f"The {setup.generator}'s loss changes from {before:.4g} to {after:.4g} with other labels, but the "
            f"{setup.generator} does not get them."
        )
        remedy = f"Call the {setup.generator} with the labels, too."
        return [Finding("labels ignored", evidence, 0.85, remedy, by_hand=True)]

    def _generator_inputs(self, setup: Setup, batch: dict[str, Tensor]) -> list[Tensor]:
        """Return all tensors that the generator is called with in one evaluation of the losses."""
        calls = setup.gan.calls(*setup.point, batch, torch.Generator().manual_seed(1))
        inputs = [(call.inputs, dict(call.keywords)) for player, call in calls if player == setup.generator]
        return [x for x in tree_leaves(inputs) if isinstance(x, Tensor)]


def _is_label(x: Any, least: int = 2) -> bool:
    """Whether an input is labels, of at least some number of classes."""
    if not isinstance(x, Tensor) or len(x.shape) not in (1, 2) or len(x) < 2:
        return False
    if x.dim() == 1:
        return not x.is_floating_point() and len(x.unique()) >= least
    one_hot = x.shape[1] > 1 and bool(((x == 0) | (x == 1)).all()) and bool((x.sum(1) == 1).all())
    return one_hot and len(x.argmax(1).unique()) >= least


def _exchanged(x: Tensor) -> Tensor:
    """Return labels with each replaced by the next one that occurs; other tensors unchanged."""
    if not _is_label(x):
        return x
    labels = x if x.dim() == 1 else x.argmax(1)
    present, index = labels.unique(return_inverse=True)
    following = present[(index + 1) % len(present)]
    return following if x.dim() == 1 else torch.eye(x.shape[1], dtype=x.dtype)[following]
