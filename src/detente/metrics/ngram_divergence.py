"""The divergence between the n-grams of generated text and of real text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from detente.data.text import Text
from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, Stamp, nonnegative
from detente.metrics.context import EvaluationContext
from detente.metrics.features.extractor import REAL, SEED, cached_on_data, real_count

LONGEST = 4
Shares = tuple[np.ndarray, np.ndarray]  # distinct n-grams as numbers, ascending, and their shares


def ngram_shares(lines: np.ndarray, length: int) -> Shares:
    """Return the distinct n-grams of lines, and the share of each.

    Args:
        lines: characters as integers, (lines, characters), 0 … 255.
        length: n, 1 … 4, at most the number of characters in a line.
    """
    longest = min(LONGEST, lines.shape[1])
    require(1 <= length <= longest, "length", length, f"a whole number, 1 … {longest}")
    count = lines.shape[1] - length + 1
    codes = np.zeros((len(lines), count), np.int64)
    for start in range(length):
        codes = codes * 256 + lines[:, start : start + count]
    unique, counts = np.unique(codes, return_counts=True)
    return unique, counts / counts.sum()


def jensen_shannon(first: Shares, second: Shares) -> float:
    """Return KL(p ‖ m)/2 + KL(q ‖ m)/2 in nats, 0 … ln 2, m = (p + q)/2, of two distributions of n-grams.

    The result is NaN if one of them has no n-grams.
    """
    if not (len(first[0]) and len(second[0])):
        return math.nan
    all_grams = np.union1d(first[0], second[0])
    densities = np.zeros((2, len(all_grams)))
    for row, (grams, shares) in zip(densities, (first, second), strict=True):
        row[np.searchsorted(all_grams, grams)] = shares
    terms = densities * np.log(np.where(densities > 0, densities, 1) / densities.mean(axis=0))
    return nonnegative(float(np.where(densities > 0, terms, 0).sum()) / 2)


@dataclass(frozen=True)
class NgramDivergence(Metric):
    """Jensen-Shannon divergence between the n-grams of generated and of real text; n = 4 by default.

    JS(p, q) = KL(p | m)/2 + KL(q | m)/2, m = (p + q)/2;  p, q the shares of each string of n consecutive characters

    Between 0 and ln 2 nats. Up to 10,000 lines represent the real text. For few samples, even real text has a
    divergence above 0.

    Args:
        length: n, the number of characters in a string, 1 … 4.

    Source: Gulrajani et al. 2017 (WGAN-GP), section 5.4 and its code (there: of characters, n = 1 … 4).
    """

    unit = "nats"
    better = "lower"
    needs = "text"

    length: int = LONGEST

    def __post_init__(self) -> None:
        valid = type(self.length) is int and 1 <= self.length <= LONGEST
        require(valid, "length", self.length, f"a whole number, 1 … {LONGEST}")

    @property
    def title(self) -> str:  # pyright: ignore
        """The title in reports, with n."""
        return f"{self.length}-gram divergence"

    def applies(self, game: Game) -> bool:
        data = getattr(game, "data", None)
        return isinstance(data, Text) and data.shape[1] >= self.length

    def stamp(self, context: EvaluationContext) -> Stamp:
        return {"real": real_count(context.data), "samples": context.count}

    def __call__(self, context: EvaluationContext) -> float:
        if not context.samples.isfinite().all():
            return math.nan
        data = context.data
        real = cached_on_data(data, ("n-grams", self.length), lambda: ngram_shares(_real_lines(data), self.length))
        lines = context.samples.argmax(dim=1).cpu().numpy()
        return jensen_shannon(ngram_shares(lines, self.length), real)


def _real_lines(data: Text) -> np.ndarray:
    """Return up to 10,000 lines, always the same, as integers."""
    rows = torch.randperm(data.size, generator=torch.Generator().manual_seed(SEED))[:REAL].sort().values
    return data.arrays[0][rows.numpy()]
