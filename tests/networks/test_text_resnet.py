"""Residual networks for text: sizes by hand, probabilities that sum to one, blocks by their formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.networks.text_resnet import TextResnetDiscriminator, TextResnetGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_counts_of_the_character_model() -> None:
    """Width 512, length 32, five blocks, as many characters as the reference code reads from its text: say, 2,050."""
    blocks = 5 * 2 * (512 * 512 * 5 + 512)
    assert count(TextResnetGenerator(2050)) == 128 * 512 * 32 + 512 * 32 + blocks + 512 * 2050 + 2050
    assert count(TextResnetDiscriminator(2050)) == 2050 * 512 + 512 + blocks + 512 * 32 + 1
    assert blocks == 13_112_320


def test_probabilities_at_every_position_sum_to_one() -> None:
    texts = TextResnetGenerator(7, 3, 10, 4, 2)(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert texts.shape == (5, 7, 10)
    assert texts.min() > 0
    torch.testing.assert_close(texts.sum(1), torch.ones(5, 10))
    assert TextResnetDiscriminator(7, 10, 4, 2)(texts).shape == (5,)


def test_discriminator_equals_its_formula() -> None:
    network = TextResnetDiscriminator(7, 10, 4, 1)
    start, first, second, last = [part for part in network.modules() if isinstance(part, nn.Conv1d | nn.Linear)]
    assert (first.kernel_size, second.kernel_size, start.kernel_size) == ((5,), (5,), (1,))
    texts = torch.rand(3, 7, 10, generator=torch.Generator().manual_seed(0))
    h = start(texts)
    h = h + 0.3 * second(torch.relu(first(torch.relu(h))))
    torch.testing.assert_close(network(texts), last(h.flatten(1))[:, 0])


def test_initial_weights_are_xavier_with_gain_sqrt_2_in_convolutions() -> None:
    for layer in TextResnetGenerator(40, 30, 8, 16, 1).modules():
        if isinstance(layer, nn.Conv1d | nn.Linear):
            fan = sum(layer.weight.shape[:2]) * layer.weight[0, 0].numel()
            bound = (12 / fan if isinstance(layer, nn.Conv1d) else 6 / fan) ** 0.5
            assert 0.95 * bound < layer.weight.abs().max().item() <= bound
            assert layer.bias is not None and not layer.bias.any()


@pytest.mark.parametrize("member", [TextResnetGenerator, TextResnetDiscriminator])
@pytest.mark.parametrize("field", ["vocabulary", "length", "width", "blocks"])
def test_bad_arguments_are_named(member: type, field: str) -> None:
    arguments: dict[str, Any] = {"vocabulary": 5, field: 0}
    with pytest.raises(InvalidValue, match=f"{field}: got 0"):
        member(**arguments)


def test_latent_must_be_positive() -> None:
    with pytest.raises(InvalidValue, match="latent: got 0"):
        TextResnetGenerator(5, latent=0)
