"""Whether the generator's loss has a gradient at every layer of the generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.autodiff import player_gradient
from detente.checks.base import Check, Finding, Setup, starts_at_zero
from detente.games.adversarial import Adversarial


@dataclass(frozen=True)
class GradientReach(Check):
    """Parameters that get no gradient, or a player most of whose parameters are frozen.

    Args:
        frozen: largest accepted share of frozen parameters of a player.
        decay: smallest accepted root mean square of the gradient of the first weights, relative to the last ones'.

    Source: the signatures "gradient at G exactly 0" and "frozen" of public reports (nlintz/TensorFlow-Tutorials 83).
    """

    frozen: float = 0.9
    decay: float = 1e-4

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return findings for each player."""
        findings = []
        _ = setup.small_batch  # which computes the gradients on few samples, if it can
        gradients = setup.gradients
        for player in (setup.generator, setup.discriminator):
            parameters = list(setup.module(player).parameters())
            fixed = sum(p.numel() for p in parameters if not p.requires_grad) / sum(p.numel() for p in parameters)
            if fixed > self.frozen:
                evidence = f"{fixed:.0%} of the {player}'s parameters are frozen."
                findings.append(Finding("wiring", evidence, 0.7, "Set requires_grad for the parameters to train."))
            block = gradients[player]
            pieces = setup.game.layouts[player].unflatten(block)
            weights = {name: piece for name, piece in pieces.items() if piece.dim() > 1}
            silent = [name for name, piece in weights.items() if not bool(piece.any())]
            if silent and bool(block.any()):  # those behind a gate of zero, which the first step opens, are not
                later = setup.game.layouts[player].unflatten(setup.gradients_awake[player])
                weights = {name: later[name] for name in weights}
                silent = [name for name in silent if not bool(later[name].any())]
            if not bool(block.any()):
                evidence = f"The gradient of the {player}'s loss is exactly 0 for all of its parameters."
                certainty = 0.4 if any(starts_at_zero(setup.module(name)) for name in gradients) else 0.95
                findings.append(Finding("vanishing gradient", evidence, certainty, _REMEDY))
            elif silent and not starts_at_zero(setup.module(player)) and self._never(setup, player, silent):
                evidence = (
                    f"The {player}'s weights {', '.join(silent[:3])} change its outputs, but get a gradient of exactly "
                    "0, with any weights: its forward computes them under torch.no_grad() or detaches them."
                )
                remedy = f"Remove torch.no_grad(), .detach(), .data or .item() from the {player}'s forward."
                findings.append(Finding("wiring", evidence, 0.95, remedy, by_hand=True))
            elif silent and not starts_at_zero(setup.module(player)):
                evidence = f"The {player}'s weights {', '.join(silent[:3])} get a gradient of exactly 0."
                findings.append(Finding("wiring", evidence, 0.6, _REMEDY))
            elif len(weights) > 2:
                (first, start), *_, (last, end) = [(n, float(x.square().mean().sqrt())) for n, x in weights.items()]
                if start < self.decay * end:
                    evidence = f"In the {player}, the gradient of {first} is {start / end:.1g} times that of {last}."
                    remedy = "Use ReLU or LeakyReLU, fewer layers, normalisation or residual connections."
                    findings.append(Finding("vanishing gradient", evidence, 0.7, remedy))
        return [*findings, *self._cut(setup)]

    def _never(self, setup: Setup, player: str, silent: list[str]) -> bool:
        """Whether weights change a player's outputs, but have no gradient with other, random weights either."""
        layout, generator = setup.game.layouts[player], torch.Generator().manual_seed(7)

        def random() -> dict[str, Tensor]:
            sizes = {name: x[0].numel() if x.dim() > 1 else 1 for name, x in pieces.items()}
            noise = {name: torch.randn(x.shape, generator=generator) for name, x in pieces.items()}
            return {name: (noise[name] * (2 / max(1, sizes[name])) ** 0.5).to(x) for name, x in pieces.items()}

        def outputs(parts: dict[str, Tensor]) -> Tensor:
            vectors = {**setup.point[0], player: layout.flatten(parts)}
            return setup.generate(vectors) if player == setup.generator else setup.scores(setup.few, vectors)

        pieces = layout.unflatten(setup.point[0][player])
        first, second = random(), random()
        vectors = {**setup.point[0], player: layout.flatten(first)}
        block = player_gradient(setup.game, player, vectors, setup.point[1], setup.small_batch).field[player]
        gradients = layout.unflatten(block)
        if any(bool(gradients[name].any()) for name in silent) or not bool(block.any()):
            return False
        return not torch.equal(outputs(first), outputs({**first, **{name: second[name] for name in silent}}))

    def _cut(self, setup: Setup) -> list[Finding]:
        """Return a finding if the generator's loss has scores in it, but no gradient comes through them."""
        if isinstance(setup.game, Adversarial) or not setup.scores_are_numbers:
            return []
        name, values = setup.generator, [setup.losses_at(0.0, fake)[setup.generator] for fake in (0.25, 0.75)]
        if not all(map(math.isfinite, values)) or values[0] == values[1]:
            return []
        first, second = (
            player_gradient(
                setup.gan.with_scores(lambda _, scores, factor=factor: factor * scores),
                name,
                *setup.point,
                setup.small_batch,
            ).field[name]
            for factor in (1.0, -3.0)
        )
        if not torch.equal(first, second):
            return []
        evidence = (
            f"The {name}'s loss depends on the scores of its samples ({values[0]:.3g} at 0.25, {values[1]:.3g} at "
            "0.75), but its gradient is the same for all scores."
        )
        return [
            Finding("wiring", evidence, 0.9, f"Do not detach the {name}'s samples or their scores in its own loss.")
        ]


_REMEDY = "Look for a saturated activation, weights of zero, or a part of the network that its output does not use."
