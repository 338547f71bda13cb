"""The distance of the players to a known solution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext


@dataclass(frozen=True)
class DistanceToSolution(Metric):
    """Euclidean distance between the parameters of all players and the game's solution.

    sqrt(sum over players of |x_player - x*_player|²)

    Source: Gidel et al. (A Variational Inequality Perspective on GANs, 2019), section 7.1, bilinear game.
    """

    title = "Distance to the solution"
    unit = ""
    better = "lower"
    needs = "a game with a known solution"

    def applies(self, game: Game) -> bool:
        return getattr(game, "solution", None) is not None

    def stamp(self, context: EvaluationContext) -> Stamp:
        return {}

    def __call__(self, context: EvaluationContext) -> float:
        vectors, solution = context.state.vectors, context.game.solution or {}
        gaps = [(vectors[player].detach().double() - target.to(vectors[player])) for player, target in solution.items()]
        return math.sqrt(sum(float(gap.square().sum()) for gap in gaps))
