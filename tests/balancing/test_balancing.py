"""Weights from gradient norms: VQGAN's and AudioCraft's formulas in plain torch, and what a game's field becomes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import autodiff, balancing
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedules.base import value


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


def setting() -> tuple[Decoder, nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder, judge = Decoder().double(), nn.Linear(4, 1).double()
        return decoder, judge, torch.randn(6, 3).double(), torch.randn(6, 4).double()


@pytest.mark.parametrize("layer", [True, False], ids=["last layer", "output"])
def test_adaptive_weight_equals_vqgan(layer: bool) -> None:
    decoder, judge, z, x = setting()
    output = decoder(z)
    reconstruction, adversarial = (output - x).abs().mean(), -judge(output).mean()
    at = decoder.last.weight if layer else output
    weight = balancing.adaptive_weight(reconstruction, adversarial, at)
    nll_grads = torch.autograd.grad(reconstruction, at, retain_graph=True)[0]
    g_grads = torch.autograd.grad(adversarial, at, retain_graph=True)[0]
    expected = torch.clamp(torch.norm(nll_grads) / (torch.norm(g_grads) + 1e-4), 0.0, 1e4)
    torch.testing.assert_close(weight, expected)
    assert not weight.requires_grad
    # The graph is kept, and with the weight both gradients are equally long.
    (total,) = torch.autograd.grad(weight * adversarial, at)
    torch.testing.assert_close(total.norm(), nll_grads.norm(), rtol=1e-3, atol=0)


def test_limits_of_the_weight() -> None:
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    loss = x.sum()
    assert balancing.adaptive_weight(loss, 0.0 * loss, x) == 1e4
    assert balancing.adaptive_weight(loss, 0.0 * loss, x, epsilon=1.0) == pytest.approx(3**0.5)
    assert balancing.adaptive_weight(0.0 * loss, loss, x) == 0
    constant = torch.ones(3)
    assert balancing.adaptive_weight(constant.sum(), constant.sum(), constant) == 0, "no gradient is being computed"
    with torch.no_grad():
        assert balancing.adaptive_weight(x.sum(), x.sum(), x) == 0
    with pytest.raises(InvalidValue, match="^at: got 'a tensor of shape .*mapped over seeds"):
        torch.func.grad(lambda x: balancing.adaptive_weight(x.sum(), x.sum(), x))(constant)


class Weighted(Game):
    """x minimises a quadratic and λ times a bilinear term, y maximises the latter; λ is adaptive, or a number."""

    traceable = False

    def __init__(self, weight: float | None = None) -> None:
        self.weight = weight

    @property
    def players(self) -> tuple[str, ...]:
        return ("x", "y")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        x, y = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
        return {"x": x.double(), "y": y.double()}, {}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        output = vectors["x"].sin()
        reconstruction, adversarial = (output - 0.3).square().sum(), (output * vectors["y"]).sum()
        weight: Any = self.weight
        if weight is None:
            weight = balancing.adaptive_weight(reconstruction, adversarial, output)
        return {"x": reconstruction + weight * adversarial, "y": -adversarial}, buffers


def test_field_and_jacobian_treat_the_adaptive_weight_as_constant() -> None:
    """What the docstring says about consensus and spectra."""
    game = Weighted()
    vectors, buffers = game.initial(torch.Generator())
    output, y = vectors["x"].sin(), vectors["y"]
    weight = float((2 * (output - 0.3)).norm() / (y.norm() + 1e-4))
    fixed = Weighted(weight)
    actual, expected = (autodiff.vector_field(variant, vectors, buffers, {}).field for variant in (game, fixed))
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(*(autodiff.jacobian(variant, vectors, buffers, {}) for variant in (game, fixed)))
    # In y's turn, x's gradient is not computed, and the weight has no meaning.
    alone = autodiff.vector_field(game, vectors, buffers, {}, ("y",))
    torch.testing.assert_close(alone.field["y"], expected["y"])


class AudioCraft:
    """The reference's steps in plain torch: averages by name, ratios of the weights, a gradient at the output."""

    def __init__(self, weights: dict[str, float], total_norm: float, decay: float, per_item: bool) -> None:
        self.weights, self.total_norm, self.decay, self.per_item = weights, total_norm, decay, per_item
        self.total: dict[str, Tensor] = {}
        self.fix: dict[str, float] = {}

    def gradient(self, losses: dict[str, Tensor], output: Tensor) -> Tensor:
        grads, averages = {}, {}
        for name, loss in losses.items():
            (grads[name],) = torch.autograd.grad(loss, [output], retain_graph=True)
            norm = grads[name].norm(dim=(1,), p=2).mean() if self.per_item else grads[name].norm(p=2)
            self.total[name] = self.total.get(name, torch.zeros(())) * self.decay + norm
            self.fix[name] = self.fix.get(name, 0.0) * self.decay + 1
            averages[name] = self.total[name] / self.fix[name]
        total_weights = sum(self.weights[k] for k in averages)
        result = torch.zeros_like(output)
        for name, average in averages.items():
            result += grads[name] * (self.weights[name] / total_weights * self.total_norm / (1e-12 + average))
        return result


@pytest.mark.parametrize("per_sample", [True, False])
def test_balancer_equals_audiocraft_over_several_steps(per_sample: bool) -> None:
    decoder, judge, z, x = setting()
    weights = {"l1": 0.1, "l2": 1.0, "adversarial": 3.0}
    balancer = balancing.Balancer(weights, total_norm=2.0, decay=0.9, per_sample=per_sample)
    oracle, averages = AudioCraft(weights, 2.0, 0.9, per_sample), balancer.initial(z)
    for step in range(5):
        output = decoder(z * (1 + step))
        terms = {"l1": (output - x).abs().mean(), "l2": (output - x).square().mean()}
        if step != 1:  # a term that is absent takes no share, and its average does not move
            terms["adversarial"] = -100 * judge(output).mean()
        expected = oracle.gradient(terms, output)
        scaled, averages = balancer(terms, output, averages)
        assert list(scaled) == list(terms) and not averages.requires_grad
        (gradient,) = torch.autograd.grad(sum(scaled.values()), output, retain_graph=True)  # type: ignore[arg-type]
        torch.testing.assert_close(gradient, expected)
    ratios = {name: torch.autograd.grad(term, output, retain_graph=True)[0] for name, term in scaled.items()}
    assert set(ratios) == set(weights)


def test_averages_do_not_change_under_no_grad() -> None:
    balancer = balancing.Balancer({"a": 1.0, "b": 3.0}, decay=0.5)
    x = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    first = balancer.initial(x)
    terms = {"a": x.sum(), "b": 5 * x.sum()}
    with torch.no_grad():
        scaled, same = balancer({"a": x.sum(), "b": x.sum()}, x, first)
        assert torch.equal(same, first) and scaled["a"] == scaled["b"] == 0
    scaled, averages = balancer(terms, x, first)
    with torch.no_grad():
        again, same = balancer({"a": x.sum(), "b": 5 * x.sum()}, x, averages)
    assert torch.equal(same, averages)
    torch.testing.assert_close(again, scaled)
    with pytest.raises(InvalidValue, match="^terms: got 'c'; allowed: a, b"):
        balancer({"c": x.sum()}, x, averages)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"weights": {"a": -1.0}}, "weights.a"),
        ({"weights": {"a": 0.0}}, "weights"),
        ({"weights": {}}, "weights"),
        ({"weights": {"a": 1.0}, "total_norm": 0.0}, "total_norm"),
        ({"weights": {"a": 1.0}, "decay": 1.0}, "decay"),
        ({"weights": {"a": 1.0}, "epsilon": float("nan")}, "epsilon"),
    ],
)
def test_invalid_balancers_are_refused(arguments: Any, field: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: got"):
        balancing.Balancer(**arguments)


def test_delayed_start_equals_its_formula() -> None:
    jump, ramp = balancing.DelayedStart(3, weight=0.8), balancing.DelayedStart(3, ramp=4, weight=2.0)
    steps = torch.arange(10)
    torch.testing.assert_close(torch.stack([jump(t) for t in steps]), torch.tensor([0.0] * 3 + [0.8] * 7))
    expected = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    torch.testing.assert_close(torch.stack([ramp(t) for t in steps]), expected)
    assert value(ramp, steps[4], torch.float64) == torch.tensor(0.5, dtype=torch.float64)
    assert jump(torch.tensor(4.0, dtype=torch.float64)).dtype == torch.float64
    for field in ("start", "ramp", "weight"):
        with pytest.raises(InvalidValue, match=f"^{field}: got -1"):
            balancing.DelayedStart(**{"start": 1, field: -1})
