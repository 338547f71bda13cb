"""The noise of mini-batch gradients."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from detente.autodiff import vector_field
from detente.diagnostics.base import Diagnosis, Diagnostic, DiagnosticContext, GradientStatistics
from detente.diagnostics.findings import noise_findings
from detente.errors import InvalidValue, require
from detente.game import Game
from detente.state import State


def gradient_statistics(
    game: Game, state: State, generator: torch.Generator, batches: int = 16, batch_size: int | None = None
) -> dict[str, GradientStatistics]:
    """Return norm, variance, signal-to-noise ratio, cosine and noise scale of each player's mini-batch gradients.

    With K batches: tr Cov(g) = Σₖ‖gₖ − ḡ‖²/(K−1), |g|² = ‖ḡ‖² − tr Cov(g)/K, tr(Σ)/|g|² = B tr Cov(g)/|g|².

    Args:
        game: the game.
        state: the state; it does not change.
        generator: source of randomness for the batches. Do not pass training's generator.
        batches: K, number of independent batches, ≥ 2.
        batch_size: B, samples in a batch, ≥ 1. Default: the game's `batch`, or 1 if it has none. For a different size,
            a copy of the game with this `batch` draws the batches.

    Returns:
        The statistics, by player.

    Raises:
        InvalidValue: an argument is out of range, or the game cannot draw batches of that size.

    Source: McCandlish et al. 2018, An Empirical Model of Large-Batch Training (arXiv:1812.06162), eq. 2.9 and
        appendix A.1 (simple noise scale).
    """
    require(batches >= 2, "batches", batches, "an integer ≥ 2")
    require(batch_size is None or batch_size >= 1, "batch_size", batch_size, "an integer ≥ 1, or None")
    size = getattr(game, "batch", 1) if batch_size is None else batch_size
    source = game if batch_size is None else _with_batch_size(game, batch_size)
    blocks_by_player: dict[str, list[Tensor]] = {name: [] for name in game.players}
    for _ in range(batches):
        batch = game.with_step(
            {key: tensor.to(state.t.device) for key, tensor in source.draw(generator).items()}, state.t
        )
        for name, block in vector_field(game, state.vectors, state.buffers, batch).field.items():
            blocks_by_player[name].append(block)
    return {name: _statistics(blocks, size) for name, blocks in blocks_by_player.items()}


def _with_batch_size(game: Game, size: int) -> Game:
    """Return a copy of the game that draws batches of `size` samples, or raise `InvalidValue`."""
    samples = getattr(getattr(game, "data", None), "size", None)
    samples = game.size if samples is None else samples
    require(samples is None or size <= samples, "batch_size", size, f"at most the {samples} samples of the data")
    source: Any = copy.copy(game)
    if getattr(game, "batch", None) != size:
        try:
            source.batch = size
        except AttributeError:  # a property
            raise InvalidValue("batch_size", size, f"{game.batch}, the only batch size of this game") from None
    batch = source.draw(torch.Generator().manual_seed(0))
    lengths = {len(tensor) for tensor in batch.values() if tensor.dim() > 0}
    allowed = f"{game.batch}, since this game ignores its `batch`"
    require(not lengths or size in lengths, "batch_size", size, allowed)
    return source


def _statistics(blocks: list[Tensor], size: int) -> GradientStatistics:
    """Return the statistics of one player's gradients; sums are float64, one batch at a time to save memory."""
    mean = sum(block.double() for block in blocks) / len(blocks)
    variance = sum(float((block.double() - mean).square().sum()) for block in blocks) / (len(blocks) - 1)
    norm = float(mean.norm())  # type: ignore[union-attr]
    if variance <= (4 * norm * torch.finfo(blocks[0].dtype).eps) ** 2:
        variance = 0.0  # the gradients are equal, up to the rounding of their mean
    signal = max(0.0, norm**2 - variance / len(blocks))
    cosines = [
        float(torch.nn.functional.cosine_similarity(first.double(), second.double(), dim=0))
        for first, second in zip(blocks[:-1], blocks[1:], strict=True)
    ]
    return GradientStatistics(
        norm=norm,
        variance=variance,
        signal_to_noise=math.sqrt(signal / variance) if variance else math.inf,
        cosine=sum(cosines) / len(cosines),
        noise_scale=size * variance / signal if signal else (math.inf if variance else 0.0),
    )


@dataclass(frozen=True)
class GradientNoise(Diagnostic):
    """Norm, variance and signal-to-noise ratio of each player's gradient, over several batches.

    Source: McCandlish et al. 2018, An Empirical Model of Large-Batch Training (arXiv:1812.06162), appendix A.1.
    """

    rank: ClassVar[int] = 10
    activity: ClassVar[str] = "gradients of several batches"

    def __call__(self, context: DiagnosticContext) -> Diagnosis:
        """Return a row per player, and what the noise means."""
        statistics = gradient_statistics(context.game, context.state, context.generator, context.batches)
        rows = [
            (player, *(f"{x:.3g}" for x in (values.norm, values.variance, values.signal_to_noise, values.noise_scale)))
            for player, values in statistics.items()
        ]
        columns = ("player", "gradient norm", "variance", "signal/noise", "noise scale (samples)")
        return Diagnosis(columns, rows, findings=noise_findings(statistics))
