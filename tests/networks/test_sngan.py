"""The residual networks of SNGAN: sizes by hand, blocks against layers put together by hand, spectral norms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from detente.errors import InvalidValue
from detente.networks.sngan import SnganDiscriminator, SnganGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def up(a: int, b: int) -> int:
    """Return the numbers in a block: two convolutions, the shortcut's, and BatchNorm before each of the two."""
    return a * b * 9 + b + b * b * 9 + b + a * b + b + 2 * a + 2 * b


def down(a: int, b: int, shortcut: bool = True) -> int:
    return a * a * 9 + a + a * b * 9 + b + shortcut * (a * b + b)


def begin(a: int, b: int) -> int:
    return a * b * 9 + b + b * b * 9 + b + a * b + b


def test_counts_for_cifar_are_4276739_and_1053825() -> None:
    generator = 128 * 4096 + 4096 + 3 * up(256, 256) + 2 * 256 + 256 * 3 * 9 + 3
    discriminator = begin(3, 128) + down(128, 128) + 2 * down(128, 128, False) + 128 + 1
    assert count(SnganGenerator()) == generator == 4_276_739
    assert count(SnganDiscriminator()) == discriminator == 1_053_825


def test_counts_for_stl() -> None:
    generator = 128 * 36 * 512 + 36 * 512 + up(512, 256) + up(256, 128) + up(128, 64) + 2 * 64 + 64 * 3 * 9 + 3
    discriminator = begin(3, 64) + down(64, 128) + down(128, 256) + down(256, 512) + down(512, 1024) + 1024 + 1
    assert count(SnganGenerator(size=48, width=64)) == generator
    assert count(SnganDiscriminator(size=48, width=64)) == discriminator


@pytest.mark.parametrize("size", [32, 48])
def test_shapes_and_range(size: int) -> None:
    images = SnganGenerator(7, 1, size, 2)(torch.randn(3, 7, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (3, 1, size, size) and images.abs().max() <= 1
    assert SnganDiscriminator(1, size, 2)(images).shape == (3,)


def doubled(h: Tensor) -> Tensor:
    return functional.interpolate(h, scale_factor=2, mode="nearest")


def test_an_up_block_is_the_papers_in_the_papers_order() -> None:
    block: Any = SnganGenerator(3, 1, 48, 2).double().blocks[2]
    h = torch.randn(4, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inner = block.first(doubled(functional.relu(block.before(h))))
    expected = block.second(functional.relu(block.between(inner))) + block.shortcut(doubled(h))
    torch.testing.assert_close(block(h), expected)


def test_down_blocks_are_the_papers_in_the_papers_order() -> None:
    network = SnganDiscriminator(3, 32, 4).double().eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blocks: list[Any] = list(network.blocks)
    first, halving, plain, last = blocks
    f, mean = functional.relu, lambda h: functional.avg_pool2d(h, 2)
    h = mean(first.second(f(first.first(images)))) + first.shortcut(mean(images))
    h = mean(halving.second(f(halving.first(f(h)))) + halving.shortcut(h))
    for block in (plain, last):
        assert block.shortcut is None
        h = h + block.second(f(block.first(f(h))))
    torch.testing.assert_close(network(images), network.output(f(h).sum((2, 3)))[:, 0])


def test_every_layer_of_the_discriminator_has_norm_one_before_and_after_a_reset() -> None:
    network = SnganDiscriminator(3, 48, 2, iterations=200)
    for seed in (0, 1):
        network.reset_parameters(torch.Generator().manual_seed(seed))
        network(torch.zeros(1, 3, 48, 48))
        layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
        assert len(layers) == 5 * 3 + 1
        for layer in layers:
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_initial_weights_are_xavier_with_gain_sqrt_2_within_blocks() -> None:
    generator = SnganGenerator(16, 3, 32, 16)
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            within = isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer is not generator.output
            fan = sum(layer.weight.shape[:2]) * layer.weight[0, 0].numel()
            bound = (2 if within else 1) ** 0.5 * (6 / fan) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound
            assert layer.bias is not None and not layer.bias.any()


@pytest.mark.parametrize("member", [SnganGenerator, SnganDiscriminator])
@pytest.mark.parametrize(
    ("change", "message"),
    [({"size": 64}, "size: got 64; allowed: 32 or 48"), ({"channels": 0}, "channels: got 0"), ({"width": 0}, "width")],
)
def test_bad_arguments_are_named(member: type, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        member(**change)


def test_iterations_must_be_positive() -> None:
    with pytest.raises(InvalidValue, match="iterations: got 0"):
        SnganDiscriminator(iterations=0)
