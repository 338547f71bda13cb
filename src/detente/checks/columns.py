"""Whether the columns of a table are of a kind that a generator can imitate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup

REMEDIES = {
    "skewed": "Take the logarithm of skewed columns, standardise it, and undo both for samples.",
    "discrete": "Add uniform noise, as wide as the steps, to columns of few values, or use one output for each value.",
    "constant": "Remove constant columns.",
}


@dataclass(frozen=True)
class Columns(Check):
    """Columns of a table, (count, columns), that are constant, skewed, or of few values that the generator cannot hit.

    A continuous generator never hits a column of few values exactly, which a discriminator sees at once; it does if its
    last activation saturates at them, as a softmax. Of a skewed column, D sees little but the largest values.

    Args:
        widest: largest number of columns of a table; more are pictures.
        skewness: largest accepted |third standardised moment|; of an exponential distribution it is 2.
        values: largest number of values that are few.

    Source: Xu et al. 2019, Modeling Tabular Data using Conditional GAN (arXiv:1907.00503), section 3.1.
    """

    widest: int = 40
    skewness: float = 4.0
    values: int = 5

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        rows = setup.real.double()
        if rows.dim() != 2 or not 2 <= rows.shape[1] <= self.widest or len(rows) < 50:
            return []
        counts = [len(column.unique()) for column in rows.T]
        few = [i for i, n in enumerate(counts) if 1 < n <= self.values]
        kinds = {
            "skewed": {
                i: x for i, x in enumerate(_skewness(rows)) if abs(x) > self.skewness and counts[i] > self.values
            },
            "discrete": {i: float(counts[i]) for i in few if not _saturates(setup, i, rows[:, i].unique())},
            "constant": {i: float(rows[0, i]) for i, n in enumerate(counts) if n == 1},
        }
        if len(kinds["constant"]) == rows.shape[1]:
            return []  # all columns are constant: named by DataScale
        words = {
            "skewed": "a skewness of {:.3g}",
            "discrete": "only {:.0f} values",
            "constant": "always the value {:.4g}",
        }
        parts = [f"column {i} has {words[kind].format(x)}" for kind, values in kinds.items() for i, x in values.items()]
        if not parts:
            return []
        certainty = 0.65 if kinds["skewed"] else 0.45  # other units help against skewness alone
        remedy = " ".join(REMEDIES[kind] for kind, values in kinds.items() if values)
        more = f", and so on for {len(parts)} columns" if len(parts) > 4 else ""
        evidence = ", ".join(parts[:4]) + more + "."
        return [Finding("data scale", evidence[0].upper() + evidence[1:], certainty, remedy)]


def _saturates(setup: Setup, column: int, values: Tensor) -> bool:
    """Whether a column of the samples takes some values as the last activation saturates, with larger parameters."""
    made = setup.generated_at_scales[-1].double()
    if made.dim() != 2:
        return False
    away = (made[:, column, None] - values).abs().min(1).values
    return float((away <= 0.02 * (values[-1] - values[0])).double().mean()) > 0.9


def _skewness(rows: Tensor) -> list[float]:
    spread = rows.std(0)
    standardised = (rows - rows.mean(0)) / torch.where(spread > 0, spread, torch.ones_like(spread))
    return (standardised**3).mean(0).tolist()
