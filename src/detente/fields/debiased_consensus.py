"""Consensus optimisation without mini-batch bias in the regulariser."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from detente.autodiff import Evaluation, vector_jacobian
from detente.autodiff.over_ranks import vectors_over_ranks
from detente.errors import require
from detente.fields.base import Field, coupling_between_samples
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import ranks, together
from detente.schedules.base import Schedule, number, require_at_least_zero
from detente.state import Tree

NUMBERS_AT_ONCE = 2**24  # elements in one array of per-sample gradients


@dataclass(frozen=True)
class DebiasedConsensus(Field):
    """Consensus with an unbiased estimate of ½‖v‖² from one batch: w = v̄ + γ ∇ [1/(2B(B−1)) Σ_{i≠j} ⟨v_i, v_j⟩].

    v_i is the field of sample i alone and v̄ that of the batch. The estimate is ½‖v̄‖² minus 1/(2(B−1)) times the
    variance over samples (with divisor B), so its gradient is (B J̄ᵀv̄ − mean of J_iᵀv_i)/(B−1). The paper's ½‖v̄‖² is
    too large by Var[v_1]/(2B) on average. The per-sample derivatives take the time and memory of B networks.

    Args:
        strength: γ, dimensionless, ≥ 0, or a schedule; the paper uses 10 for the mixture and 0.1 or 10 for images.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 15 and the remark after it (descent sign).
    """

    strength: float | Schedule = 10.0

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless a batch has at least two samples that can be evaluated one by one."""
        count = _count(game.draw(torch.Generator().manual_seed(0)))
        name, hint = type(game).__name__, "The field `consensus` has no such requirement"
        require(count >= 2, "game", name, "a game with batches of at least 2 samples", hint)
        require(game.traceable, "game", name, "a game whose losses can be mapped over samples", hint)
        reason = coupling_between_samples(game)
        require(not reason, "game", name, "a game whose samples do not mix", f"Here {reason}. {hint}")

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return twice the cost of consensus: once for the batch as a whole, once for its samples one by one."""
        return 2 * (len(players) + len(moving))

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w(x)."""
        current = ranks()
        count = _count(batch) if current is None else _count(batch) * current.count
        evaluation, joint = vector_jacobian(game, vectors, buffers, batch, columns=players, parts=True)
        with together(None):  # a sample is a batch of its own
            per_sample_pulls = _mean_of_pulls(game, vectors, buffers, batch, players)
        per_sample_pulls = vectors_over_ranks(per_sample_pulls, parts=True)
        pull = {name: (count * joint[name] - per_sample_pulls[name]) / (count - 1) for name in players}
        blocks = {name: evaluation.field[name] + number("strength", self.strength) * pull[name] for name in players}
        return replace(evaluation, field=blocks), memory


def _count(batch: Batch) -> int:
    """Return the number of samples; tensors without dimensions (a step, a seed) belong to all of them."""
    return max((len(tensor) for tensor in batch.values() if tensor.dim()), default=0)


def _mean_of_pulls(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...]) -> Vectors:
    """Return the mean over samples of J_iᵀv_i, in chunks of as many samples as memory allows."""
    numbers = {name: tensor for name, tensor in batch.items() if not tensor.dim()}
    samples = {name: tensor for name, tensor in batch.items() if tensor.dim()}
    count = _count(batch)
    at_once = max(1, NUMBERS_AT_ONCE // sum(vector.numel() for vector in vectors.values()))

    def pull(at: Vectors, sample: Batch) -> Vectors:
        batch_of_one = {name: tensor.unsqueeze(0) for name, tensor in sample.items()}
        return vector_jacobian(game, at, buffers, {**batch_of_one, **numbers}, columns=players)[1]

    total: Vectors = {}
    for start in range(0, count, at_once):
        chunk = {name: tensor[start : start + at_once] for name, tensor in samples.items()}
        copies = {name: vector.expand(_count(chunk), -1) for name, vector in vectors.items()}
        for name, pulls in torch.vmap(pull)(copies, chunk).items():
            total[name] = total.get(name, 0.0) + pulls.sum(0)
    return {name: block / count for name, block in total.items()}
