"""Variational bounds of f-divergences: zero-sum games in which the best discriminator measures the divergence."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from detente.objectives.base import ZeroSum


class FDivergence(ZeroSum):
    """A lower bound of D_f(p ‖ q) = E_q[f(p/q)], where p is the real and q the fake distribution; tight at T = f'(p/q).

    L_D = -(E_real[g(s)] - E_fake[f*(g(s))]),  L_G = -L_D, with g mapping all of ℝ into the domain of f*.

    Source: Nowozin, Cseke and Tomioka 2016, equation 6 and the tables of divergences and of output activations.
    """

    @abstractmethod
    def activation(self, score: Tensor) -> Tensor:
        """Return g(s), the variational function T, in the shape of `score`."""

    @abstractmethod
    def conjugate(self, score: Tensor) -> Tensor:
        """Return f*(g(s)), in the shape of `score`, in a form that avoids cancellation and early overflow."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E_fake[f*(g(s))] - E_real[g(s)], (), in nats if f has a logarithm, from scores, each (batch,)."""
        return self.conjugate(fake).mean() - self.activation(real).mean()


@dataclass(frozen=True)
class KullbackLeibler(FDivergence):
    """KL(p ‖ q) = E_p[log(p/q)], which penalises missing modes.

    f(u) = u log u,  f*(t) = exp(t - 1),  g(s) = s;  best score 1 + log(p/q).

    Source: Nowozin, Cseke and Tomioka 2016, table of output activations.
    """

    def activation(self, score: Tensor) -> Tensor:
        """Return s."""
        return score

    def conjugate(self, score: Tensor) -> Tensor:
        """Return exp(s - 1), infinite above s ≈ 89 in float32."""
        return torch.exp(score - 1)


@dataclass(frozen=True)
class ReverseKullbackLeibler(FDivergence):
    """KL(q ‖ p) = E_q[log(q/p)], which penalises samples where there are no data.

    f(u) = -log u,  f*(t) = -1 - log(-t),  g(s) = -exp(-s);  best score log(p/q).

    Source: Nowozin, Cseke and Tomioka 2016, table of output activations.
    """

    def activation(self, score: Tensor) -> Tensor:
        """Return -exp(-s), infinite below s ≈ -88 in float32."""
        return -torch.exp(-score)

    def conjugate(self, score: Tensor) -> Tensor:
        """Return -1 - log(exp(-s)) = s - 1."""
        return score - 1


@dataclass(frozen=True)
class PearsonChiSquared(FDivergence):
    """Pearson's χ² = E_q[(p/q - 1)²].

    f(u) = (u - 1)²,  f*(t) = t²/4 + t,  g(s) = s;  best score 2(p/q - 1).

    Source: Nowozin, Cseke and Tomioka 2016, table of output activations.
    """

    def activation(self, score: Tensor) -> Tensor:
        """Return s."""
        return score

    def conjugate(self, score: Tensor) -> Tensor:
        """Return s²/4 + s."""
        return 0.25 * score.square() + score


@dataclass(frozen=True)
class SquaredHellinger(FDivergence):
    """Squared Hellinger distance Σ(√p - √q)², between 0 and 2.

    f(u) = (√u - 1)²,  f*(t) = t/(1 - t),  g(s) = 1 - exp(-s);  best score ½ log(p/q).

    Source: Nowozin, Cseke and Tomioka 2016, table of output activations.
    """

    def activation(self, score: Tensor) -> Tensor:
        """Return 1 - exp(-s), infinite below s ≈ -88 in float32."""
        return -torch.expm1(-score)

    def conjugate(self, score: Tensor) -> Tensor:
        """Return (1 - exp(-s))/exp(-s) = exp(s) - 1."""
        return torch.expm1(score)


@dataclass(frozen=True)
class JensenShannon(FDivergence):
    """KL(p ‖ m) + KL(q ‖ m) with m = (p + q)/2: twice the Jensen-Shannon divergence, between 0 and 2 log 2.

    f(u) = u log u - (u + 1) log((u + 1)/2),  f*(t) = -log(2 - exp(t)),  g(s) = log 2σ(s);  best score log(p/q).

    This is the saturating GAN shifted by 2 log 2. The paper prints the integral with a factor ½, which its f does not
    have; this class uses f.

    Source: Nowozin, Cseke and Tomioka 2016, table of output activations.
    """

    def activation(self, score: Tensor) -> Tensor:
        """Return log 2 + log σ(s)."""
        return math.log(2) + logsigmoid(score)

    def conjugate(self, score: Tensor) -> Tensor:
        """Return -log(2 - 2σ(s)) = -log 2 - log σ(-s)."""
        return -math.log(2) - logsigmoid(-score)


@dataclass(frozen=True)
class TotalVariation(FDivergence):
    """Total variation distance ½Σ|p - q|, between 0 and 1.

    f(u) = ½|u - 1|,  f*(t) = t for |t| ≤ ½,  g(s) = ½ tanh s;  best score ±∞, by the sign of p - q.

    Source: Nowozin, Cseke and Tomioka 2016, table of output activations; `tv` in the code of Mescheder et al. 2017 is
    twice this.
    """

    def activation(self, score: Tensor) -> Tensor:
        """Return ½ tanh s."""
        return 0.5 * torch.tanh(score)

    def conjugate(self, score: Tensor) -> Tensor:
        """Return ½ tanh s, since f* is the identity on its domain."""
        return 0.5 * torch.tanh(score)
