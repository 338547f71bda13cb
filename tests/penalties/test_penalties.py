"""Gradient penalties: closed forms for linear and quadratic critics, randomness, and constant critics."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from detente.errors import InvalidValue
from detente.networks.mlp import MLP
from detente.penalties.base import Penalty
from detente.penalties.dragan import DRAGAN
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2

SHAPES = [(6, 2), (5, 3, 4, 4)]
EVERY = [GradientPenalty(), DRAGAN(), DRAGAN(perturbation="code"), DRAGAN(perturbation="paper"), R1(), R2()]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["points", "images"])


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    real = torch.randn(shape, generator=generator, dtype=torch.float64)
    return real, 2 + torch.randn(shape, generator=generator, dtype=torch.float64)


def linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: (x * weight).flatten(1).sum(1)


def quadratic(x: Tensor) -> Tensor:
    """Return ½‖x‖², whose gradient is x."""
    return 0.5 * x.flatten(1).square().sum(1)


def drawn(penalty: Penalty, shape: tuple[int, ...], seed: int = 0) -> dict[str, Tensor]:
    return penalty.draw(torch.Size(shape), torch.Generator().manual_seed(seed))


@every_shape
def test_penalty_of_a_linear_critic_depends_on_the_norm_of_its_weight(shape: tuple[int, ...]) -> None:
    real, fake = pair(shape)
    weight = torch.randn(shape[1:], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    norm = weight.norm()  # over all dimensions of a sample
    for penalty in (GradientPenalty(3.0, target=0.5), DRAGAN(3.0, target=0.5)):
        value = penalty(linear(weight), real, fake, drawn(penalty, shape))
        torch.testing.assert_close(value, 3 * (norm - 0.5) ** 2)
    for penalty in (R1(3.0), R2(3.0)):
        torch.testing.assert_close(penalty(linear(weight), real, fake, {}), 1.5 * norm**2)


@every_shape
def test_penalties_of_a_quadratic_critic_show_where_they_are_evaluated(shape: tuple[int, ...]) -> None:
    real, fake = pair(shape)

    def norms(x: Tensor) -> Tensor:
        return x.flatten(1).norm(dim=1)

    torch.testing.assert_close(R1(4.0)(quadratic, real, fake, {}), 2 * norms(real).square().mean())
    torch.testing.assert_close(R2(4.0)(quadratic, real, fake, {}), 2 * norms(fake).square().mean())

    noise = drawn(GradientPenalty(), shape)
    mixed = torch.stack([e * x + (1 - e) * y for e, x, y in zip(noise["mixing"].double(), real, fake, strict=True)])
    expected = 10 * (norms(mixed) - 1).square().mean()
    torch.testing.assert_close(GradientPenalty()(quadratic, real, fake, noise), expected)

    noise = drawn(DRAGAN(), shape)
    near = real + 0.5 * float(real.numpy().std()) * noise["perturbation"].double()
    torch.testing.assert_close(DRAGAN()(quadratic, real, fake, noise), 10 * (norms(near) - 1).square().mean())

    noise = drawn(DRAGAN(perturbation="code"), shape)  # the authors' notebook, line by line
    perturbed = real.numpy() + 0.5 * real.numpy().std() * noise["perturbation"].double().numpy()
    differences = perturbed - real.numpy()
    alpha = noise["mixing"].double().numpy().reshape(-1, *(1,) * (real.dim() - 1))
    interpolates = torch.from_numpy(real.numpy() + alpha * differences)
    expected = 10 * (norms(interpolates) - 1).square().mean()
    torch.testing.assert_close(DRAGAN(perturbation="code")(quadratic, real, fake, noise), expected)

    noise = drawn(DRAGAN(spread=3.0, perturbation="paper"), shape)
    near = real + 3 * noise["perturbation"].double()
    expected = 10 * (norms(near) - 1).square().mean()
    torch.testing.assert_close(DRAGAN(spread=3.0, perturbation="paper")(quadratic, real, fake, noise), expected)


def test_mixing_is_one_weight_for_each_sample() -> None:
    inputs = []

    def score(x: Tensor) -> Tensor:
        inputs.append(x.detach())
        return quadratic(x)

    shape = (64, 3, 4, 4)
    penalty = GradientPenalty()
    noise = drawn(penalty, shape)
    penalty(score, torch.ones(shape), torch.zeros(shape), noise)
    assert noise["mixing"].shape == (64,)
    assert (inputs[0] == noise["mixing"].reshape(64, 1, 1, 1)).all()
    assert noise["mixing"].unique().numel() == 64
    assert noise["mixing"].min() >= 0 and noise["mixing"].max() < 1


def test_mixing_weight_belongs_to_the_real_sample() -> None:
    real, fake = pair((4, 2))
    ones = {"mixing": torch.ones(4)}
    torch.testing.assert_close(
        GradientPenalty(0.5, target=0.0)(quadratic, real, fake, ones), R1(1.0)(quadratic, real, fake, {})
    )


def test_dragan_perturbs_every_number_upwards_within_half_a_deviation() -> None:
    noise = drawn(DRAGAN(), (50, 3, 2))["perturbation"]
    assert noise.shape == (50, 3, 2)
    assert noise.unique().numel() > 290
    assert 0 <= noise.min() and noise.max() < 1


def test_dragan_perturbations_equal_its_code_and_its_paper() -> None:
    code = drawn(DRAGAN(perturbation="code"), (500, 4))
    assert code["mixing"].shape == (500,) and 0 <= code["mixing"].min() and code["mixing"].max() < 1
    assert torch.equal(code["perturbation"], drawn(DRAGAN(), (500, 4))["perturbation"])
    paper = drawn(DRAGAN(perturbation="paper"), (500, 4))
    assert set(paper) == {"perturbation"} and kstest(paper["perturbation"].flatten(), "norm").pvalue > 1e-3
    with pytest.raises(InvalidValue, match="^perturbation: got 'gaussian'; allowed: uniform, code, paper"):
        DRAGAN(perturbation="gaussian")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "penalty",
    [GradientPenalty(), DRAGAN(), DRAGAN(perturbation="code"), DRAGAN(perturbation="paper")],
    ids=["gradient_penalty", "dragan", "dragan_code", "dragan_paper"],
)
def test_draws_depend_on_the_generator_alone(penalty: Penalty) -> None:
    before = torch.get_rng_state()
    first, again, other = drawn(penalty, (8, 2)), drawn(penalty, (8, 2)), drawn(penalty, (8, 2), seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for name in first:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("penalty", EVERY, ids=repr)
def test_penalty_of_a_constant_critic_is_differentiable(penalty: Penalty) -> None:
    real, fake = pair((4, 2))
    noise = drawn(penalty, (4, 2))

    def loss(weight: Tensor) -> Tensor:
        return penalty(linear(weight), real, fake, noise)

    zero = torch.zeros(2, dtype=torch.float64)
    assert loss(zero).item() == getattr(penalty, "target", 0.0) * 10
    for slope in (grad(loss)(zero), torch.autograd.functional.jacobian(loss, zero)):
        assert torch.equal(slope, zero)
    assert torch.isfinite(jacrev(grad(loss))(zero)).all()


@pytest.mark.parametrize("penalty", EVERY, ids=repr)
def test_gradients_equal_finite_differences_in_each_engine(penalty: Penalty) -> None:
    network = MLP(2, 1, 5, 2, activation="tanh").double()
    network.reset_parameters(torch.Generator().manual_seed(0))
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    real, fake = pair((4, 2))
    noise = drawn(penalty, (4, 2))

    def loss(weight: Tensor) -> Tensor:
        held = {**parameters, "layers.2.weight": weight}
        return penalty(lambda x: functional_call(network, held, (x,)).squeeze(1), real, fake, noise)

    weight = parameters["layers.2.weight"].clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (weight,))
    (taped,) = torch.autograd.grad(loss(weight), weight)
    functional = grad(loss)(weight.detach())
    torch.testing.assert_close(functional, taped)
    assert taped.abs().max() > 1e-3
    stacked = torch.stack([weight.detach(), 2 * weight.detach()])
    torch.testing.assert_close(vmap(grad(loss))(stacked)[0], taped)
    traced = make_fx(grad(loss))(2 * weight.detach())  # what a compiled step is made from
    torch.testing.assert_close(traced(weight.detach()), taped)


def test_penalty_on_fakes_still_depends_on_the_generator() -> None:
    real, fake = pair((4, 2))
    moved = grad(lambda shift: R2(2.0)(quadratic, real, fake + shift, {}))(torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(moved, 2 * fake.mean(0))
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (taped,) = torch.autograd.grad(R2(2.0)(quadratic, real, fake + shift, {}), shift)
    torch.testing.assert_close(taped, moved)


def test_gradient_penalty_refuses_batches_of_different_sizes() -> None:
    noise = drawn(GradientPenalty(), (4, 2))
    with pytest.raises(InvalidValue, match="^fake: got \\(1, 2\\); allowed: the shape of the real batch"):
        GradientPenalty()(quadratic, torch.zeros(4, 2), torch.zeros(1, 2), noise)


@pytest.mark.parametrize("member", [GradientPenalty, DRAGAN, R1, R2])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_strength_must_be_finite_and_not_negative(member: type, value: float) -> None:
    with pytest.raises(InvalidValue, match="^strength: got "):
        member(strength=value)


@pytest.mark.parametrize(("member", "field"), [(GradientPenalty, "target"), (DRAGAN, "target"), (DRAGAN, "spread")])
def test_other_fields_must_not_be_negative(member: type, field: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: got -1"):
        member(**{field: -1})
