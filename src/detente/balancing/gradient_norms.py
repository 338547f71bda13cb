"""Balance of a loss's terms by the norms of their gradients, as in AudioCraft and EnCodec."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.arguments import Typed
from detente.autodiff import constant_gradient, constant_gradient_norm
from detente.errors import require, unknown


@dataclass(frozen=True)
class Balancer(Typed):
    """Scales the terms of a loss so that each has its share of the gradient at the model's output.

    L = Σ_k c_k L_k,  c_k = R · (w_k/Σ_j w_j) / (ε + m_k),  where m_k is a moving average of ‖∇_a L_k‖ and a = `at`.

    So the sum of the norms of the gradients at a is about R, whatever the scale of each L_k, and the weights are
    shares. The moving average Σ βⁱ n_{t-i} / Σ βⁱ includes the present norm n_t. For batches, n is the mean of the
    norms of the samples' gradients, or, with `per_sample` False, the norm of the whole.

    The factors c_k are constants, as in the code. What `adaptive_weight` says about the field, consensus and spectra
    holds here as well. The code propagates the balanced gradient back from a only; here each whole term is scaled,
    including its contributions to the parameters that do not pass through a.

    Args:
        weights: w_k ≥ 0 by the name of the term, with a positive sum.
        total_norm: R, > 0.
        decay: β, in [0, 1).
        per_sample: whether n is the mean over samples.
        epsilon: ε, > 0.

    Raises:
        InvalidValue: a value is out of range; when called, a term has no weight.

    Source: Défossez et al. 2022, High Fidelity Neural Audio Compression (arXiv:2210.13438), section 3.4 (loss
        balancer); code (facebookresearch/audiocraft, `losses/balancer.py`).
    """

    weights: Mapping[str, float]
    total_norm: float = 1.0
    decay: float = 0.999
    per_sample: bool = True
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            require(math.isfinite(weight) and weight >= 0, f"weights.{name}", weight, "a finite number ≥ 0")
        require(sum(self.weights.values()) > 0, "weights", dict(self.weights), "at least one weight > 0")
        for field in ("total_norm", "epsilon"):
            setting = getattr(self, field)
            require(math.isfinite(setting) and setting > 0, field, setting, "a finite number > 0")
        require(0 <= self.decay < 1, "decay", self.decay, "a number in [0, 1)")

    def initial(self, like: Tensor) -> Tensor:
        """Return the averages before the first step, (2, terms): decaying sums of norms, and of ones."""
        return like.new_zeros(2, len(self.weights), dtype=torch.promote_types(like.dtype, torch.float32))

    def __call__(self, terms: Mapping[str, Tensor], at: Tensor, averages: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the scaled terms, to be added, and the new averages.

        Where no gradient is being computed (another player's turn), the averages do not change, and terms are scaled
        by them; before the first averages, the factors are 0.

        Args:
            terms: L_k, (), by name; all or some of the names of `weights`.
            at: a tensor from which the terms were computed, (batch, …): the model's output.
            averages: those of the last call, or `initial`.
        """
        for name in terms:
            if name not in self.weights:
                raise unknown("terms", name, self.weights)
        sums, counts = (list(row.unbind()) for row in averages)
        total_weight = sum(self.weights[name] for name in terms)
        scaled: dict[str, Tensor] = {}
        for index, name in enumerate(self.weights):
            if name not in terms:
                continue
            gradient = constant_gradient(terms[name], at)
            if gradient is not None:
                norm = constant_gradient_norm(gradient, at, self.per_sample).to(averages.dtype)
                sums[index], counts[index] = self.decay * sums[index] + norm, self.decay * counts[index] + 1
            mean = sums[index] / counts[index].clamp(min=1.0)
            share = self.weights[name] / total_weight if total_weight else 0.0
            factor = torch.where(counts[index] > 0, self.total_norm * share / (self.epsilon + mean), 0.0)
            scaled[name] = factor.to(terms[name].dtype) * terms[name]
        return scaled, torch.stack([torch.stack(sums), torch.stack(counts)])
