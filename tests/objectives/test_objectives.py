"""Objectives of the two players: closed forms, declared properties, and stability at extreme scores."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import grad, jacrev, vmap

from detente.errors import InvalidValue
from detente.objectives.base import Objective
from detente.objectives.hinge import Hinge
from detente.objectives.indicator import Indicator
from detente.objectives.least_squares import LeastSquares
from detente.objectives.minimax import Minimax
from detente.objectives.non_saturating import NonSaturating
from detente.objectives.wasserstein import Wasserstein
from detente.registry import members

REAL = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
FAKE = torch.tensor([-0.3, 1.5, -2.0], dtype=torch.float64)


def every_objective() -> list[Objective]:
    return [member() for member in members("objectives").values()]


def named(objective: Objective) -> str:
    return type(objective).__name__


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating()], ids=named)
def test_cross_entropy_of_the_discriminator_is_the_textbook_formula(objective: Objective) -> None:
    expected = -torch.log(torch.sigmoid(REAL)).mean() - torch.log(1 - torch.sigmoid(FAKE)).mean()
    torch.testing.assert_close(objective.discriminator_loss(REAL, FAKE), expected)


def test_undecided_discriminator_has_loss_two_log_two() -> None:
    zero = torch.zeros(4)
    assert Minimax().discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert NonSaturating().generator_loss(None, zero).item() == pytest.approx(math.log(2))


def test_non_saturating_generator_is_cross_entropy_with_flipped_labels() -> None:
    expected = -torch.log(torch.sigmoid(FAKE)).mean()
    torch.testing.assert_close(NonSaturating().generator_loss(None, FAKE), expected)


def test_saturating_and_non_saturating_gradients_have_complementary_weights() -> None:
    saturating = 3 * grad(lambda s: Minimax().generator_loss(REAL, s))(FAKE)
    practical = 3 * grad(lambda s: NonSaturating().generator_loss(None, s))(FAKE)
    torch.testing.assert_close(saturating, -torch.sigmoid(FAKE))
    torch.testing.assert_close(practical, -(1 - torch.sigmoid(FAKE)))
    undecided = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(
        grad(lambda s: Minimax().generator_loss(REAL, s))(undecided),
        grad(lambda s: NonSaturating().generator_loss(None, s))(undecided),
    )


def test_linear_objectives_are_differences_of_means() -> None:
    difference = FAKE.mean() - REAL.mean()
    for objective in (Wasserstein(), Indicator()):
        torch.testing.assert_close(objective.discriminator_loss(REAL, FAKE), difference)
    torch.testing.assert_close(Wasserstein().generator_loss(REAL, FAKE), -difference)
    torch.testing.assert_close(Indicator().generator_loss(None, FAKE), -FAKE.mean())


def test_least_squares_by_hand_and_zero_at_its_labels() -> None:
    objective = LeastSquares(real_label=2.0, fake_label=-1.0, generator_label=0.5)
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 1.0])
    assert objective.discriminator_loss(real, fake).item() == pytest.approx(0.5 * 1 + 0.5 * (0 + 4) / 2)
    assert objective.generator_loss(None, fake).item() == pytest.approx(0.5 * (2.25 + 0.25) / 2)
    assert objective.discriminator_loss(torch.full((3,), 2.0), torch.full((3,), -1.0)).item() == 0.0


def test_hinge_by_hand_and_flat_beyond_the_margin() -> None:
    real, fake = torch.tensor([0.0, 3.0]), torch.tensor([-4.0, 1.0])
    assert Hinge().discriminator_loss(real, fake).item() == pytest.approx(1 / 2 + 2 / 2)
    assert Hinge().generator_loss(None, fake).item() == pytest.approx(1.5)
    slope = grad(lambda s: Hinge().discriminator_loss(s, fake))(real)
    torch.testing.assert_close(slope, torch.tensor([-0.5, 0.0]))


@pytest.mark.parametrize("objective", every_objective(), ids=named)
def test_zero_sum_is_declared_exactly_where_it_holds(objective: Objective) -> None:
    total = objective.discriminator_loss(REAL, FAKE) + objective.generator_loss(REAL, FAKE)
    assert (total.item() == 0.0) == objective.zero_sum


@pytest.mark.parametrize("objective", every_objective(), ids=named)
def test_real_scores_are_used_exactly_where_declared(objective: Objective) -> None:
    if objective.generator_needs_real:
        with pytest.raises(InvalidValue, match="^real: got None; allowed: "):
            objective.generator_loss(None, FAKE)
        assert objective.generator_loss(REAL, FAKE) != objective.generator_loss(REAL + 0.25, FAKE)
    else:
        assert objective.generator_loss(None, FAKE) == objective.generator_loss(REAL, FAKE)


@pytest.mark.parametrize("objective", every_objective(), ids=named)
def test_gradient_signs_of_both_players(objective: Objective) -> None:
    zero = torch.zeros(2, dtype=torch.float64)
    assert (grad(lambda s: objective.discriminator_loss(s, zero))(zero) < 0).all()
    below = zero + 0.1  # at 0 the 0-1 coding of least squares has the discriminator content with its fakes
    assert (grad(lambda s: objective.discriminator_loss(zero, s))(below) > 0).all()
    assert (grad(lambda s: objective.generator_loss(zero, s))(below) < 0).all()


@pytest.mark.parametrize("objective", every_objective(), ids=named)
def test_gradients_agree_with_finite_differences_to_second_order(objective: Objective) -> None:
    def both(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return torch.stack([objective.discriminator_loss(real, fake), 2 * objective.generator_loss(real, fake)])

    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(both, (real, fake))
    assert torch.autograd.gradgradcheck(both, (real, fake))


@pytest.mark.parametrize("objective", every_objective(), ids=named)
def test_vmapped_equals_looped(objective: Objective) -> None:
    real, fake = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 20).reshape(4, 5)
    for loss in (objective.discriminator_loss, objective.generator_loss):
        torch.testing.assert_close(
            vmap(grad(loss, argnums=1))(real, fake),
            torch.stack([grad(loss, argnums=1)(*s) for s in zip(real, fake, strict=True)]),
        )


@pytest.mark.parametrize(
    "objective", [Minimax(), NonSaturating(), members("objectives")["jensen_shannon"]()], ids=named
)
def test_logarithms_survive_extreme_scores(objective: Objective) -> None:
    real, fake = torch.tensor([-1e4, 1e4]), torch.tensor([1e4, -1e4])
    for loss in (objective.discriminator_loss, objective.generator_loss):
        assert torch.isfinite(loss(real, fake))
        assert torch.isfinite(grad(loss, argnums=1)(real, fake)).all()
        assert torch.isfinite(jacrev(grad(loss, argnums=1), argnums=1)(real, fake)).all()
    assert Minimax().discriminator_loss(real, fake).item() == pytest.approx(1e4)


def test_curvature_of_large_scores_is_not_cut_off() -> None:
    score = torch.tensor(25.0, dtype=torch.float64)
    curvature = grad(grad(lambda s: Minimax().discriminator_loss(REAL, s)))(score)
    assert curvature.item() == pytest.approx(math.exp(-25.0), rel=1e-3)


def test_fully_compiled_objectives_equal_eager_ones() -> None:
    objectives = every_objective()

    def slopes(real: torch.Tensor, fake: torch.Tensor) -> list[torch.Tensor]:
        return [
            grad(loss, argnums=1)(real, fake)
            for objective in objectives
            for loss in (objective.discriminator_loss, objective.generator_loss)
        ]

    compiled = torch.compile(slopes, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(REAL, FAKE), slopes(REAL, FAKE))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"real_label": math.nan}, "real_label"),
        ({"real_label": 0.0}, "real_label"),
        ({"fake_label": math.inf}, "fake_label"),
    ],
)
def test_least_squares_refuses_invalid_labels(arguments: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: got "):
        LeastSquares(**arguments)
