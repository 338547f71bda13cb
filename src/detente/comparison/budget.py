"""The budget of a training run: steps, gradient evaluations or seconds for each seed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from detente.errors import InvalidValue, require

if TYPE_CHECKING:
    from detente.training.run import Run

Unit = Literal["steps", "grads", "seconds"]
UNIT_NAMES = {"steps": "steps", "grads": "gradient evaluations", "seconds": "seconds"}
UNITS: dict[str, tuple[Unit, float]] = {
    "step": ("steps", 1),
    "steps": ("steps", 1),
    "grad": ("grads", 1),
    "grads": ("grads", 1),
    "s": ("seconds", 1),
    "seconds": ("seconds", 1),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
}
ALLOWED = "a number with its unit, e.g. 60s, 10min, 2e5grads or 20000steps"
UNLIMITED_STEPS = 10**9  # steps; larger than any time budget allows


@dataclass(frozen=True)
class Budget:
    """A limit for each seed of each method.

    Args:
        amount: the limit; steps and gradient evaluations ≥ 1, seconds > 0.
        unit: "steps", "grads" (gradients of one player's loss on one batch) or "seconds" (time spent on a seed's
            steps; measurements are not counted).
    """

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        require(self.unit in UNIT_NAMES, "unit", self.unit, ", ".join(UNIT_NAMES))
        finite = not isinstance(self.amount, bool) and math.isfinite(self.amount)
        if self.unit == "seconds":
            require(finite and self.amount > 0, "budget", self.amount, "a finite number of seconds > 0")
        else:
            require(
                finite and self.amount >= 1, "budget", self.amount, f"a finite number of {UNIT_NAMES[self.unit]} ≥ 1"
            )

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget for a text such as `60s`, `10min`, `2e5grads` or `20000steps`.

        Raises:
            InvalidValue: the text is not a budget.
        """
        match = re.fullmatch(r"\s*([-+.\d]+(?:[eE][-+]?\d+)?)\s*([a-zA-Z]*)\s*", str(text))
        if match is None or match[2].lower() not in UNITS:
            raise InvalidValue("budget", text, ALLOWED)
        unit, factor = UNITS[match[2].lower()]
        try:
            amount = float(match[1])
        except ValueError as error:
            raise InvalidValue("budget", text, ALLOWED) from error
        return cls(amount * factor, unit)

    def __str__(self) -> str:
        digits = ",.0f" if self.amount == round(self.amount) else ",g"
        return f"{self.amount:{digits}} {UNIT_NAMES[self.unit]}"

    def steps(self, cost: float) -> int:
        """Return the number of whole steps within the budget, at least 1.

        Args:
            cost: gradient evaluations per step; the mean if steps differ.
        """
        if self.unit == "seconds":
            return UNLIMITED_STEPS
        amount_per_step = cost if self.unit == "grads" else 1.0
        # A mean cost such as 2.2 is rounded in floating point, and 2.2 × 1,000 must still give 1,000 steps.
        return min(UNLIMITED_STEPS, max(1, math.floor(self.amount / amount_per_step * (1 + 1e-12))))

    def apply_to(self, run: Run) -> Run:
        """Return the run with this budget as its limit; other settings, including explicit intervals, do not change."""
        steps = self.steps(run.method.gradient_evaluations(run.game))
        return replace(run, steps=steps, seconds=self.amount if self.unit == "seconds" else None)


def shorten(run: Run, fraction: float) -> Run:
    """Return the run with a fraction, in (0, 1], of its steps and seconds."""
    seconds = None if run.seconds is None else run.seconds * fraction
    return replace(run, steps=max(1, math.floor(run.steps * fraction)), seconds=seconds)
