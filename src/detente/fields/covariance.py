"""The gradient field with the covariance of per-sample gradients, for optimizers that add noise of this covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from detente.autodiff import Evaluation, gradient_covariance, through_layers, vector_field
from detente.errors import require
from detente.fields.base import Field, coupling_between_samples
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedules.base import Schedule, number, require_at_least_zero
from detente.state import Tree

LARGEST_FULL = 20_000  # parameters; the float32 matrix then takes 1.6 GB


@dataclass(frozen=True)
class Covariance(Field):
    """The gradient field, which also estimates the covariance of the per-sample gradients of some players.

    I_t = (1 − κ_t) I_{t−1} + κ_t V(x_t),  κ_t = 1/t,  V = 1/(B−1) Σ_b (g_b − ḡ)(g_b − ḡ)ᵀ

    where t counts the player's evaluations and g_b is the gradient of the loss on sample b of the batch of B samples.
    Each step reports the noise level √(mean variance of a coordinate) of I_t as "noise_level", or as
    "noise_level_PLAYER" if there are several players. For networks of linear layers V costs about as much as the
    gradient itself; for other networks it costs several times that.

    Args:
        players: the players for which to estimate the covariance.
        kind: "diagonal" for variances only, (n_i,), or "full" for the matrix, (n_i, n_i), up to 20,000 parameters.
        average: "running" is I_t as above, which settles to a constant; "instantaneous" is κ_t = 1, I_t = V(x_t),
            which was observed to allow larger steps.
        prior: precision p ≥ 0, or a schedule, of a Gaussian prior log P(θ) = −p/2 ‖θ‖² of these players. Its
            −∇ log P = p θ is added to the gradient of the mean loss in their blocks; V and the reported losses do not
            include it.

    Source: NIPS 2017 submission on noisy discriminator gradients, eqs. 10 and 11; the recursion is Ahn, Korattikara &
        Welling 2012 (arXiv:1206.6380); "instantaneous" after Wei & Shang 2025 (arXiv:2512.24515).
    """

    players: tuple[str, ...] = ("discriminator",)
    kind: Literal["diagonal", "full"] = "diagonal"
    average: Literal["running", "instantaneous"] = "running"
    prior: float | Schedule = 0.0

    def __post_init__(self) -> None:
        distinct = bool(self.players) and len(set(self.players)) == len(self.players)
        require(distinct, "players", self.players, "one or more players, each once")
        require(self.kind in ("diagonal", "full"), "kind", self.kind, "'diagonal' or 'full'")
        valid = self.average in ("running", "instantaneous")
        require(valid, "average", self.average, "'running' or 'instantaneous'")
        require_at_least_zero(self, "prior")

    @property
    def covariance_of(self) -> tuple[str, ...]:
        """The field's `players`."""
        return self.players

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` if samples have no gradients of their own, or the full matrix would be too large."""
        present = set(self.players) <= set(game.players)
        require(present, "players", self.players, f"players among {', '.join(game.players)}")
        generator = torch.Generator().manual_seed(0)
        batch, kind = game.draw(generator), type(game).__name__
        sizes = {len(tensor) for tensor in batch.values() if tensor.dim()}
        require(bool(sizes), "game", kind, "a game with samples, since V is a covariance over the samples of a batch")
        splits_batch = len(sizes) == 1 and max(sizes) > 1
        require(splits_batch, "batch", sorted(sizes), "at least 2 samples, since one has no covariance")
        drawing = getattr(game, "stochastic", False)
        require(not drawing, "game", kind, "a game whose layers draw no random numbers (dropout does)")
        for name, module in getattr(game, "modules", {}).items():
            mixing = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
            layer_name = next((type(part).__name__ for part in mixing if part.training), "")
            allowed = "a network whose samples have gradients of their own; BatchNorm mixes the samples of a batch"
            require(not layer_name, name, layer_name, allowed)
        mixed = coupling_between_samples(game)
        require(not mixed, "game", kind, "a game whose losses are means over samples that do not mix", mixed)
        for name in self.players:
            through_layers(game, name)  # computed now, so that traced steps find the result
        if self.kind == "full":
            vectors, _ = game.initial(generator)
            largest = max(len(vectors[name]) for name in self.players)
            allowed = f"'diagonal' for more than {LARGEST_FULL} parameters; this game has {largest}"
            require(largest <= LARGEST_FULL, "kind", self.kind, allowed)

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return zero covariances and zero numbers of evaluations, (), by player."""

        def zeros(vector: Tensor) -> Tensor:
            return vector.new_zeros((len(vector),) * (2 if self.kind == "full" else 1))

        count = torch.zeros((), dtype=torch.int64, device=next(iter(vectors.values())).device)
        return {
            "covariance": {name: zeros(vectors[name]) for name in self.players},
            "count": {name: count.clone() for name in self.players},
        }

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per moving player: the gradient of a batch is the mean over its samples."""
        return len(moving)

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return v(x) with the prior's term, and I_t of the evaluated players."""
        covariances, counts = dict(memory["covariance"]), dict(memory["count"])
        plain = tuple(name for name in players if name not in self.players)
        blocks, losses, extra = {}, {}, {}
        if plain:
            evaluation = vector_field(game, vectors, buffers, batch, plain)
            blocks, losses, buffers = evaluation.field, evaluation.losses, evaluation.buffers
        for name in self.players:
            if name not in players:
                continue
            evaluation, estimate = gradient_covariance(game, name, vectors, buffers, batch, self.kind == "full")
            buffers, counts[name] = evaluation.buffers, counts[name] + 1
            if self.average == "running":
                estimate = covariances[name] + (estimate - covariances[name]) / counts[name].to(estimate.dtype)
            covariances[name] = estimate
            prior = number("prior", self.prior)
            pull = prior * vectors[name] if isinstance(prior, Tensor) or prior else 0.0
            blocks, losses = blocks | {name: evaluation.field[name] + pull}, losses | evaluation.losses_of((name,))
            variances = estimate if self.kind == "diagonal" else estimate.diagonal()
            extra["noise_level" if len(self.players) == 1 else f"noise_level_{name}"] = variances.mean().sqrt()
        ordered = {name: blocks[name] for name in players}
        evaluation = Evaluation(ordered, losses, buffers, extra)
        evaluation = replace(evaluation, losses=evaluation.losses_of(players))
        return evaluation, {"covariance": covariances, "count": counts}
