"""BatchNorm's second derivative in closed form: equal to torch and finite differences; unused elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from detente.autodiff import vector_field, vector_jacobian
from detente.games.adversarial import Adversarial
from detente.games.low_dimensional import LowDimensional
from detente.modules.calling import is_traceable
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.penalties.r1 import R1
from detente.shortcuts.batch_norm import batch_norm_in_closed_form

NORMS = {
    "2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "2d, not affine": (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 2, 2)),
    "2d, batch statistics": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (4, 3, 2, 2)),
    "2d, cumulative average": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 3, 2, 2)),
    "1d": (lambda: nn.BatchNorm1d(3), (5, 3)),
    "1d, sequences": (lambda: nn.BatchNorm1d(3, eps=0.1, momentum=0.3), (4, 3, 5)),
    "3d": (lambda: nn.BatchNorm3d(2), (3, 2, 2, 1, 2)),
}
every_norm = pytest.mark.parametrize(("build", "shape"), NORMS.values(), ids=NORMS.keys())


def norm_and_input(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """Return a layer in float64 whose scales and shifts are not one and zero, and samples off the origin."""
    generator = torch.Generator().manual_seed(len(shape))
    norm = build().double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    x = 2 + 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return norm, x.requires_grad_()


def to_second_order(layer: nn.Module, x: Tensor, closed: bool) -> list[Tensor]:
    """Return the output, first derivatives and derivatives of a function of all first derivatives."""
    leaves = [x, *layer.parameters()]
    with batch_norm_in_closed_form({"player": layer}) if closed else nullcontext():
        y = layer(x)
    first = grad(y.tanh().square().sum(), leaves, create_graph=True)
    second = grad(torch.cat([gradient.sin().flatten() for gradient in first]).sum(), leaves)
    return [y, *first, *second]


def called(layer: nn.Module, x: Tensor) -> str:
    """Return the name of the backward function of a layer's output."""
    with batch_norm_in_closed_form({"player": layer}):
        return type(layer(x).grad_fn).__name__


@every_norm
def test_batch_norm_equals_torch_to_rounding(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    (closed, x), (torchs, _) = norm_and_input(build, shape), norm_and_input(build, shape)
    assert called(closed, x) == "_BatchNormBackward" != type(torchs(x).grad_fn).__name__
    torch.testing.assert_close(
        to_second_order(closed, x, True), to_second_order(torchs, x, False), rtol=1e-11, atol=1e-12
    )
    for name, buffer in torchs.named_buffers():
        assert torch.equal(closed.get_buffer(name), buffer), name


@every_norm
def test_batch_norm_against_finite_differences(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    norm, x = norm_and_input(build, shape)
    weight, bias = [p.detach().requires_grad_() for p in norm.parameters()] or (None, None)
    leaves = tuple(leaf for leaf in (x, weight, bias) if leaf is not None)

    def function(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        with batch_norm_in_closed_form({"player": nn.BatchNorm1d(1)}):
            return functional.batch_norm(x, None, None, weight, bias, training=True)

    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


def test_batch_norm_with_only_a_shift_or_a_scale() -> None:
    _, x = norm_and_input(*NORMS["2d"])
    numbers = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)

    def function(x: Tensor, numbers: Tensor) -> Tensor:
        with batch_norm_in_closed_form({"player": nn.BatchNorm1d(1)}):
            return functional.batch_norm(x, None, None, numbers, None, True) * functional.batch_norm(
                x, running_mean=None, running_var=None, bias=numbers, training=True
            )

    assert gradgradcheck(function, (x, numbers))


@pytest.mark.parametrize("name", ["2d", "2d, not affine", "1d"])
def test_a_third_derivative_is_exact(name: str) -> None:
    """Torch's own is not: its second derivative takes mean and variance for constants."""
    norm, x = norm_and_input(*NORMS[name])

    def second(x: Tensor) -> tuple[Tensor, ...]:
        with batch_norm_in_closed_form({"player": norm}):
            y = norm(x)
        leaves = [x, *norm.parameters()]
        first = grad(y.tanh().square().sum(), leaves, create_graph=True)
        return grad(torch.cat([gradient.sin().flatten() for gradient in first]).sum(), leaves, create_graph=True)

    assert gradcheck(second, (x,))


def test_a_third_derivative_by_the_parameters_alone() -> None:
    _, x = norm_and_input(*NORMS["2d"])
    samples, shift = x.detach(), torch.zeros(3, dtype=torch.float64)

    def second(weight: Tensor) -> Tensor:
        with batch_norm_in_closed_form({"player": nn.BatchNorm1d(1)}):
            y = functional.batch_norm(samples, None, None, weight, shift, training=True)
        (first,) = grad(y.tanh().square().sum(), weight, create_graph=True)
        return grad(first.sin().sum(), weight, create_graph=True)[0]

    assert gradcheck(second, (torch.linspace(0.5, 1, 3, dtype=torch.float64, requires_grad=True),))


def test_evaluation_mode_uses_torch() -> None:
    layer, x = nn.BatchNorm2d(4).eval(), torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    assert called(layer, x) == type(layer(x).grad_fn).__name__


@pytest.mark.parametrize("change", [torch.Tensor.bfloat16, lambda x: x.to(memory_format=torch.channels_last)])
def test_unsupported_tensors_use_torch(change: Callable[[Tensor], Tensor]) -> None:
    norm, x = nn.BatchNorm2d(3), torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    x = change(x).requires_grad_()
    assert called(norm, x) == type(norm(x).grad_fn).__name__


def test_one_value_per_channel_raises_torchs_error() -> None:
    norm = nn.BatchNorm1d(3)
    with batch_norm_in_closed_form({"player": norm}), pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.ones(1, 3))


def test_the_closed_form_is_not_used_where_it_does_not_apply() -> None:
    player = {"player": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))}
    assert not isinstance(batch_norm_in_closed_form(player), nullcontext)
    assert isinstance(batch_norm_in_closed_form({"player": nn.Linear(2, 2)}), nullcontext)
    assert isinstance(batch_norm_in_closed_form(None), nullcontext)
    with torch.autocast("cpu"):
        assert isinstance(batch_norm_in_closed_form(player), nullcontext)
    contexts = []
    make_fx(lambda x: contexts.append(batch_norm_in_closed_form(player)) or x + 1)(torch.ones(1))
    assert isinstance(contexts[0], nullcontext)


def test_torch_func_grad_equals_torch() -> None:
    norm, x = norm_and_input(*NORMS["1d"])
    buffers = dict(norm.named_buffers())

    def loss(x: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {k: v.clone() for k, v in buffers.items()}, x).tanh().square().sum()

    with batch_norm_in_closed_form({"player": norm}):
        gradient = torch.func.grad(loss)(x.detach())
    torch.testing.assert_close(gradient, torch.func.grad(loss)(x.detach()), rtol=1e-12, atol=1e-14)


def gan(*penalties: R1) -> Adversarial:
    """Return a small smooth GAN in float64 with BatchNorm in both players."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
        critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, critic, data, 3, "non_saturating", penalties, batch=6)


def both_ways(game: Adversarial, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """Return J(x)ᵀ v(x) with the closed forms and without."""
    generator = torch.Generator().manual_seed(1)
    vectors, buffers = game.initial(generator)
    at = (vectors, buffers, {name: number.double() for name, number in game.draw(generator).items()})
    closed = vector_jacobian(game, *at)
    monkeypatch.setattr("detente.autodiff.jacobian_products.batch_norm_in_closed_form", lambda modules: nullcontext())
    original = vector_jacobian(game, *at)
    return tuple((e.field, e.losses, e.buffers, product) for e, product in (closed, original))


def test_consensus_of_dcgan_equals_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = 2 * torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)) - 1
    with torch.random.fork_rng():
        torch.manual_seed(5)
        generator, discriminator = DcganGenerator(latent=3, width=4), DcganDiscriminator(width=4)
    game = Adversarial(generator.double(), discriminator.double(), data, 3, batch=4)
    closed, original = both_ways(game, monkeypatch)
    torch.testing.assert_close(closed, original, rtol=1e-8, atol=1e-11)
    assert all(is_traceable(module) for module in game.modules.values())


@pytest.mark.filterwarnings("ignore:normalisation")  # as the set-up deserves
def test_a_penalty_with_batch_norm_equals_finite_differences() -> None:
    game = gan(R1(0.7))
    generator = torch.Generator().manual_seed(1)
    vectors, buffers = game.initial(generator)
    batch = {name: number.double() for name, number in game.draw(generator).items()}
    _, product = vector_jacobian(game, vectors, buffers, batch)
    direction = {name: torch.randn(v.shape, generator=generator).double() for name, v in vectors.items()}

    def half_square(step: float) -> Tensor:
        moved = {name: v + step * direction[name] for name, v in vectors.items()}
        return torch.cat([*vector_field(game, moved, buffers, batch).field.values()]).square().sum() / 2

    slope = (half_square(1e-5) - half_square(-1e-5)) / 2e-5
    torch.testing.assert_close(sum(product[n] @ direction[n] for n in product), slope, rtol=1e-7, atol=1e-9)


def test_games_without_modules_do_not_change() -> None:
    game = LowDimensional("f3", start=(1.2, -0.7))
    _, product = vector_jacobian(game, *game.initial(torch.Generator()), game.draw(torch.Generator()))
    assert all(block.isfinite().all() for block in product.values())
