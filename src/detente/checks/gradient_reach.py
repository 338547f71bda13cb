"""Whether the generator's loss has a gradient at every layer of the generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detente.autodiff import player_gradient
from detente.checks.base import Check, Finding, Setup

SAMPLES = 8  # enough for a gradient that is not exactly 0


@dataclass(frozen=True)
class GradientReach(Check):
    """Parameters that get no gradient, or a player most of whose parameters are frozen.

    Args:
        frozen: largest accepted share of frozen parameters of a player.

    Source: the signatures "gradient at G exactly 0" and "frozen" of public reports (nlintz/TensorFlow-Tutorials 83).
    """

    frozen: float = 0.9

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return findings for each player."""
        findings = []
        vectors, buffers = setup.point
        for player in setup.game.players:
            parameters = list(setup.module(player).parameters())
            fixed = sum(p.numel() for p in parameters if not p.requires_grad) / sum(p.numel() for p in parameters)
            if fixed > self.frozen:
                evidence = f"{fixed:.0%} of the {player}'s parameters are frozen."
                findings.append(Finding("wiring", evidence, 0.7, "Set requires_grad for the parameters to train."))
            try:
                batch = setup.small_batch(min(SAMPLES, setup.game.batch))
                block = player_gradient(setup.game, player, vectors, buffers, batch).field[player]
            except (RuntimeError, ValueError):  # networks that only accept whole batches
                block = player_gradient(setup.game, player, vectors, buffers, setup.batch).field[player]
            pieces = setup.game.layouts[player].unflatten(block)
            weights = {name: piece for name, piece in pieces.items() if piece.dim() > 1}
            silent = [name for name, piece in weights.items() if not bool(piece.any())]
            if not bool(block.any()):
                evidence = f"The gradient of the {player}'s loss is exactly 0 for all of its parameters."
                findings.append(Finding("vanishing gradient", evidence, 0.95, _REMEDY))
            elif silent:
                evidence = f"The {player}'s weights {', '.join(silent[:3])} get a gradient of exactly 0."
                findings.append(Finding("wiring", evidence, 0.6, _REMEDY))
        return findings


_REMEDY = "Look for a saturated activation, weights of zero, or a part of the network that its output does not use."
