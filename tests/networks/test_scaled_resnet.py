"""Residual networks of The Numerics of GANs: sizes by hand, the factor 0.1, the shape of each stage."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.networks.scaled_resnet import ScaledResnetDiscriminator, ScaledResnetGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def block(width: int, between: int) -> int:
    return width * between * 9 + between + between * width * 9 + width


def test_counts_for_faces_are_2208067_and_1979073() -> None:
    step = 128 * 128 * 25 + 128
    generator = 256 * 16 * 128 + 16 * 128 + 3 * (step + block(128, 64)) + 128 * 3 * 25 + 3
    discriminator = 3 * 128 * 25 + 128 + block(128, 128) + 3 * (step + block(128, 64)) + 16 * 128 + 1
    assert count(ScaledResnetGenerator()) == generator == 2_208_067
    assert count(ScaledResnetDiscriminator()) == discriminator == 1_979_073


@pytest.mark.parametrize(("size", "sides"), [(64, [4, 8, 16, 32, 64]), (28, [2, 4, 7, 14, 28])])
def test_every_stage_doubles_and_halves_the_side(size: int, sides: list[int]) -> None:
    generator, discriminator = ScaledResnetGenerator(5, 1, size, 2), ScaledResnetDiscriminator(1, size, 2)
    output_sides: list[int] = []
    for network in (generator, discriminator):
        for layer in network.layers:
            if type(layer).__name__ == "_Block":
                layer.register_forward_hook(lambda _, __, output: output_sides.append(output.shape[-1]))
    images = generator(torch.ones(2, 5))
    assert images.shape == (2, 1, size, size) and images.abs().max() <= 1
    assert discriminator(images).shape == (2,)
    assert output_sides == [*sides[1:4], *sides[3::-1]]


def test_a_block_adds_a_tenth_of_its_residual_branch() -> None:
    network = ScaledResnetDiscriminator(1, 16, 2)
    block = [layer for layer in network.layers if type(layer).__name__ == "_Block"][1]
    first, second = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    assert (first.out_channels, second.out_channels) == (1, 2)
    h = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    f = nn.LeakyReLU(0.2)
    torch.testing.assert_close(block(h), h + 0.1 * second(f(first(f(h)))))


@pytest.mark.parametrize("member", [ScaledResnetGenerator, ScaledResnetDiscriminator])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 15}, "size: got 15; allowed: a whole number of at least 16"),
        ({"channels": 0}, "channels: got 0"),
        ({"width": 1}, "width: got 1; allowed: a whole number of at least 2"),
    ],
)
def test_bad_arguments_are_named(member: type, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        member(**change)
