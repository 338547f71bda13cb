"""Min-max problems in two dimensions, used to plot the trajectories of methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from detente.errors import require, unknown
from detente.game import Batch, Buffers, Game, Vectors

FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "xy": lambda x, y: x * y,
    "f1": lambda x, y: -3 * x**2 - y**2 + 4 * x * y,
    "f2": lambda x, y: 3 * x**2 + y**2 + 4 * x * y,
    "f3": lambda x, y: (4 * x**2 - (y - 3 * x + 0.05 * x**3) ** 2 - 0.1 * y**4) * torch.exp(-0.01 * (x**2 + y**2)),
}
START = {"xy": (1.0, 1.0), "f1": (5.5, 5.5), "f2": (5.5, 5.5), "f3": (5.5, 5.5)}


class LowDimensional(Game):
    """Min over x and max over y of a function of two numbers: L_x = f(x, y), L_y = −f(x, y).

    `xy` is f = xy on [−5, 5]², with projection; `f1` = −3x² − y² + 4xy; `f2` = 3x² + y² + 4xy;
    `f3` = (4x² − (y − 3x + 0.05x³)² − 0.1y⁴) exp(−0.01(x² + y²)).

    Args:
        function: "xy", "f1", "f2" or "f3".
        bound: both players are projected onto [−bound, bound]; default 5 for "xy", no bound for the others.
        start: initial (x, y); default (1, 1) for "xy" and (5.5, 5.5) for the others.

    Source: Mangoubi, Sachdeva & Vishnoi 2020 (blog post From Theory to Practice); Keswani et al. 2022, section 6;
        Wang, Zhang & Ba 2020, On Solving Minimax Optimization Locally (arXiv:1910.07512).
    """

    zero_sum = True

    def __init__(self, function: str = "xy", bound: float | None = None, start: Sequence[float] | None = None) -> None:
        if function not in FUNCTIONS:
            raise unknown("function", function, FUNCTIONS)
        self.bound = 5.0 if bound is None and function == "xy" else bound
        require(self.bound is None or self.bound > 0, "bound", bound, "a number > 0")
        self.start = tuple(start or START[function])
        require(len(self.start) == 2, "start", self.start, "two numbers, x and y")
        self.function = function
        self.solution = {"x": torch.zeros(1).double(), "y": torch.zeros(1).double()} if function != "f2" else None

    @property
    def players(self) -> tuple[str, ...]:
        """The minimiser x and the maximiser y."""
        return ("x", "y")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return the initial point, float64."""
        return {name: torch.tensor([number]).double() for name, number in zip(("x", "y"), self.start, strict=True)}, {}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return f and −f."""
        value = FUNCTIONS[self.function](vectors["x"], vectors["y"]).sum()
        return {"x": value, "y": -value}, buffers

    def project(self, vectors: Vectors) -> Vectors:
        """Return the nearest point of the square."""
        if self.bound is None:
            return vectors
        return {name: vector.clamp(-self.bound, self.bound) for name, vector in vectors.items()}
