"""Transposed convolutions as products: torch's numbers to rounding, and when they stand aside."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from detente.autodiff import vector_field
from detente.games.adversarial import Adversarial
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.shortcuts import transposed_convolutions
from detente.shortcuts.transposed_convolutions import products

TRANSPOSED = {  # in, out, kernel, stride, padding, pixels a side, bias
    "one pixel": (4, 3, 3, 1, 0, 1, False),
    "one pixel, many channels": (3, 5, (2, 3), 2, 0, 1, True),
    "grey": (3, 1, 4, 2, 1, 4, False),
    "coloured": (2, 3, (3, 4), (1, 2), (1, 0), 3, True),
    "few pixels": (512, 256, 2, 1, 1, 2, True),
}
every_transposed = pytest.mark.parametrize("sizes", TRANSPOSED.values(), ids=TRANSPOSED.keys())


def transposed(sizes: tuple) -> tuple[nn.ConvTranspose2d, Tensor]:
    into, out, kernel, stride, padding, pixels, bias = sizes
    generator = torch.Generator().manual_seed(into)
    layer = nn.ConvTranspose2d(into, out, kernel, stride, padding, bias=bias).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer, torch.randn(2, into, pixels, pixels, generator=generator).double().requires_grad_()


def to_second_order(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the output, first derivatives and derivatives of a function of all first derivatives."""
    leaves, y = [x, *layer.parameters()], layer(x)
    first = grad(y.tanh().square().sum(), leaves, create_graph=True)
    return [y, *first, *grad(torch.cat([one.sin().flatten() for one in first]).sum(), leaves)]


def multiplied(layer: nn.Module, x: Tensor) -> bool:
    """Whether a layer's result is another node of autograd's graph than torch's convolution."""
    with products(layer):
        return type(layer(x).grad_fn).__name__ != "ConvolutionBackward0"


@every_transposed
def test_values_and_derivatives_are_torchs_to_rounding(sizes: tuple) -> None:
    layer, x = transposed(sizes)
    assert multiplied(layer, x)
    with products(layer):
        ours = to_second_order(layer, x)
    torch.testing.assert_close(ours, to_second_order(layer, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["one pixel, many channels", "grey", "coloured"])
def test_second_derivatives_against_finite_differences(name: str) -> None:
    layer, x = transposed(TRANSPOSED[name])

    def function(x: Tensor, weight: Tensor) -> Tensor:
        with products(layer):
            return functional.conv_transpose2d(x, weight, layer.bias, layer.stride, layer.padding)  # pyright: ignore

    assert gradgradcheck(function, (x, layer.weight))


@every_transposed
def test_pixel_by_pixel_in_memory_the_numbers_are_the_same(sizes: tuple) -> None:
    layer, x = transposed(sizes)
    with products(layer):
        ours = layer(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(ours, layer(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["one pixel", "grey", "few pixels"])
def test_under_autocast_it_is_the_shorter_numbers_product(name: str) -> None:
    layer, x = transposed(TRANSPOSED[name])
    layer, x = layer.float(), x.detach().float()
    with products(layer), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        once, again = layer(x), layer(x.bfloat16())
    assert once.dtype == torch.bfloat16
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    exact = layer.bfloat16().double()(x.bfloat16().double())
    torch.testing.assert_close(once.double(), exact, rtol=2e-2, atol=2e-2 * float(exact.detach().abs().mean()))


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 2, 3, groups=2),
        nn.ConvTranspose2d(4, 1, 3, dilation=2),
        nn.ConvTranspose2d(4, 1, 3, stride=2, output_padding=1),
        nn.ConvTranspose2d(4, 8, 3),
    ],
    ids=str,
)
def test_others_go_to_torch(layer: nn.Module) -> None:
    assert not multiplied(layer, torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0)))


def test_nothing_is_answered_where_nothing_is_gained() -> None:
    assert not isinstance(products(nn.ConvTranspose2d(2, 1, 1)), nullcontext)
    assert isinstance(products(nn.Linear(2, 2)), nullcontext)
    assert isinstance(products(nn.ConvTranspose2d(2, 1, 1), torch.ones(1, device="meta")), nullcontext)
    seen = []
    make_fx(lambda x: seen.append(products(nn.ConvTranspose2d(2, 1, 1))) or x + 1)(torch.ones(1))
    assert isinstance(seen[0], nullcontext)


def test_the_first_derivatives_of_a_game_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = 2 * torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)) - 1
    with torch.random.fork_rng():
        torch.manual_seed(5)
        generator, discriminator = DcganGenerator(latent=3, width=4), DcganDiscriminator(width=4)
    game = Adversarial(generator.double(), discriminator.double(), data, 3, batch=4)
    numbers = torch.Generator().manual_seed(1)
    at = (*game.initial(numbers), {name: number.double() for name, number in game.draw(numbers).items()})
    ours = vector_field(game, *at)
    monkeypatch.setattr(transposed_convolutions, "_PRODUCTS", {})
    torchs = vector_field(game, *at)
    torch.testing.assert_close((ours.field, ours.buffers), (torchs.field, torchs.buffers), rtol=1e-8, atol=1e-11)
