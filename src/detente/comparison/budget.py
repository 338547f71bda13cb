"""What a training may cost: steps, gradient evaluations or seconds of every seed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from detente.errors import InvalidValue, require
from detente.training.run import Run

Unit = Literal["steps", "grads", "seconds"]
WORDS = {"steps": "steps", "grads": "gradient evaluations", "seconds": "seconds"}
SPELLED: dict[str, tuple[Unit, float]] = {
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
WITHOUT_END = 10**9  # steps that no budget of seconds lets a seed take


@dataclass(frozen=True)
class Budget:
    """An amount that every seed of every method may use up.

    Args:
        amount: how much; steps and gradient evaluations ≥ 1, seconds > 0.
        unit: of what: "steps", "grads" (gradients of one player's loss on one batch) or "seconds" (of a seed's steps;
            measurements are not counted).
    """

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        require(self.unit in WORDS, "unit", self.unit, ", ".join(WORDS))
        finite = not isinstance(self.amount, bool) and math.isfinite(self.amount)
        if self.unit == "seconds":
            require(finite and self.amount > 0, "budget", self.amount, "a finite number of seconds > 0")
        else:
            require(finite and self.amount >= 1, "budget", self.amount, f"a finite number of {WORDS[self.unit]} ≥ 1")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget that words such as `60s`, `10min`, `2e5grads` or `20000steps` name.

        Raises:
            InvalidValue: they name none.
        """
        match = re.fullmatch(r"\s*([-+.\d]+(?:[eE][-+]?\d+)?)\s*([a-zA-Z]*)\s*", str(text))
        if match is None or match[2].lower() not in SPELLED:
            raise InvalidValue("budget", text, ALLOWED)
        unit, factor = SPELLED[match[2].lower()]
        try:
            amount = float(match[1])
        except ValueError as error:
            raise InvalidValue("budget", text, ALLOWED) from error
        return cls(amount * factor, unit)

    def __str__(self) -> str:
        whole = self.amount == round(self.amount)
        return f"{self.amount:,.0f} {WORDS[self.unit]}" if whole else f"{self.amount:,g} {WORDS[self.unit]}"

    def steps(self, cost: float) -> int:
        """Return how many whole steps it pays for, one at least.

        Args:
            cost: of a step, in gradient evaluations; a mean where steps differ.
        """
        if self.unit == "seconds":
            return WITHOUT_END
        price = cost if self.unit == "grads" else 1.0
        # A mean cost such as 2.2 is no exact number: 2.2 × 1,000 pays for 1,000 steps.
        return min(WITHOUT_END, max(1, math.floor(self.amount / price * (1 + 1e-12))))

    def applied(self, run: Run) -> Run:
        """Return the run with the budget as its end; the rest of it stays, intervals that it names among it."""
        steps = self.steps(run.method.gradient_evaluations(run.game))
        return replace(run, steps=steps, seconds=self.amount if self.unit == "seconds" else None)


def shortened(run: Run, share: float) -> Run:
    """Return the run with a share, in (0, 1], of its steps and of its seconds."""
    seconds = None if run.seconds is None else run.seconds * share
    return replace(run, steps=max(1, math.floor(run.steps * share)), seconds=seconds)
