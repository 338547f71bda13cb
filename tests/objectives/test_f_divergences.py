"""f-divergences of two discrete distributions: the variational bound against the sum Σ q f(p/q)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from torch import Tensor
from torch.func import grad

from detente.objectives.f_divergences import (
    FDivergence,
    JensenShannon,
    KullbackLeibler,
    PearsonChiSquared,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)
from detente.objectives.minimax import Minimax

# p = (1, 2, 3, 4)/10 and q = (4, 4, 1, 1)/10 as batches of 10 samples, so that batch means are expectations.
P = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
Q = torch.tensor([0.4, 0.4, 0.1, 0.1], dtype=torch.float64)
REAL = torch.repeat_interleave(torch.arange(4), torch.tensor([1, 2, 3, 4]))
FAKE = torch.repeat_interleave(torch.arange(4), torch.tensor([4, 4, 1, 1]))


@dataclass(frozen=True)
class Case:
    objective: FDivergence
    f: Callable[[Tensor], Tensor]
    best: Callable[[Tensor], Tensor]  # the score at which g(s) = f'(u)


CASES = [
    Case(KullbackLeibler(), lambda u: u * u.log(), lambda u: 1 + u.log()),
    Case(ReverseKullbackLeibler(), lambda u: -u.log(), lambda u: u.log()),
    Case(PearsonChiSquared(), lambda u: (u - 1) ** 2, lambda u: 2 * (u - 1)),
    Case(SquaredHellinger(), lambda u: (u.sqrt() - 1) ** 2, lambda u: u.log() / 2),
    Case(JensenShannon(), lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(), lambda u: u.log()),
    Case(TotalVariation(), lambda u: (u - 1).abs() / 2, lambda u: 40 * (u - 1).sign()),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.objective).__name__)


def bound(case: Case, scores: Tensor) -> Tensor:
    return case.objective.generator_loss(scores[REAL], scores[FAKE])


@each_case
def test_best_discriminator_measures_the_divergence(case: Case) -> None:
    torch.testing.assert_close(bound(case, case.best(P / Q)), (Q * case.f(P / Q)).sum())


@each_case
def test_gradient_is_zero_at_the_best_discriminator(case: Case) -> None:
    slope = grad(lambda s: case.objective.discriminator_loss(s[REAL], s[FAKE]))(case.best(P / Q))
    torch.testing.assert_close(slope, torch.zeros(4, dtype=torch.float64))


@each_case
def test_bound_never_exceeds_the_divergence(case: Case) -> None:
    divergence = (Q * case.f(P / Q)).sum()
    scores = 2 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (torch.func.vmap(lambda s: bound(case, s))(scores) <= divergence).all()


@each_case
def test_gradient_of_the_bound_is_the_gradient_of_the_divergence(case: Case) -> None:
    best = case.best(P / Q)
    truth = grad(lambda q: (q * case.f(P / q)).sum())(Q)
    weighted = grad(lambda q: (P * case.objective.activation(best)).sum() - (q * case.objective.conjugate(best)).sum())(
        Q
    )
    torch.testing.assert_close(weighted, truth)


@each_case
def test_conjugate_is_the_fenchel_conjugate_of_f(case: Case) -> None:
    ratios = torch.logspace(-6, 6, 400_001, dtype=torch.float64)
    scores = torch.tensor([-1.5, -0.4, 0.0, 0.7, 1.2], dtype=torch.float64)
    for score in scores:
        slope = case.objective.activation(score)
        supremum = (slope * ratios - case.f(ratios)).max()
        torch.testing.assert_close(case.objective.conjugate(score), supremum, atol=2e-6, rtol=1e-6)


@each_case
def test_equal_distributions_have_no_divergence(case: Case) -> None:
    scores = case.best(torch.ones(4, dtype=torch.float64))
    assert case.objective.generator_loss(scores, scores).item() == pytest.approx(0.0, abs=1e-15)


def test_divergences_equal_scipy() -> None:
    p, q = P.numpy(), Q.numpy()
    ratio = P / Q
    expected = {
        KullbackLeibler: rel_entr(p, q).sum(),
        ReverseKullbackLeibler: rel_entr(q, p).sum(),
        PearsonChiSquared: ((p - q) ** 2 / q).sum(),
        SquaredHellinger: ((p**0.5 - q**0.5) ** 2).sum(),
        JensenShannon: 2 * jensenshannon(p, q) ** 2,
        TotalVariation: abs(p - q).sum() / 2,
    }
    for case in CASES:
        measured = bound(case, case.best(ratio)).item()
        assert measured == pytest.approx(expected[type(case.objective)], rel=1e-9)


def test_jensen_shannon_equals_the_saturating_objective_up_to_a_constant() -> None:
    real, fake = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shifted = 2 * torch.log(torch.tensor(2.0, dtype=torch.float64)) - Minimax().discriminator_loss(real, fake)
    torch.testing.assert_close(JensenShannon().generator_loss(real, fake), shifted)
