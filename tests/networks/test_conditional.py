"""Networks of the conditional GAN: sizes of the paper, maxout by its formula, labels that count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente.errors import InvalidValue
from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_counts_of_the_paper_are_2413984_and_1224351() -> None:
    generator = 101 * 200 + 11 * 1000 + 1201 * 1200 + 1201 * 784
    discriminator = 785 * 240 * 5 + 11 * 50 * 5 + 291 * 240 * 4 + 241
    assert count(ConditionalGenerator()) == generator == 2_413_984
    assert count(ConditionalDiscriminator()) == discriminator == 1_224_351


def test_generator_equals_its_formula() -> None:
    network = ConditionalGenerator(3, 2, 1, 4, 3, 4, 5)
    latents, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 1, 0])
    embedding = network.from_label.weight.T[labels] + network.from_label.bias  # a column for each label
    joint = network.joint(torch.cat([network.from_latent(latents).relu(), embedding.relu()], 1)).relu()
    images = network(latents, labels)
    torch.testing.assert_close(images, torch.tanh(network.output(joint)).reshape(6, 1, 4, 4))
    assert not torch.allclose(images, network(latents, 1 - labels))


def maxout(linear: Any, h: Tensor, pieces: int) -> Tensor:
    pieced = [linear.weight[piece::pieces] @ h.T + linear.bias[piece::pieces].unsqueeze(1) for piece in range(pieces)]
    return torch.stack(pieced).max(0).values.T


def test_discriminator_equals_its_formula() -> None:
    network = ConditionalDiscriminator(2, 1, 4, 3, 2, 4)
    images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    from_image, from_label = (
        maxout(network.from_image.linear, images.flatten(1), 5),
        maxout(network.from_label.linear, torch.eye(2)[labels], 5),
    )
    joint = maxout(network.joint.linear, torch.cat([from_image, from_label], 1), 4)
    scores = network(images, labels)
    torch.testing.assert_close(scores, network.output(joint)[:, 0])
    assert not torch.allclose(scores, network(images, 1 - labels))


def test_a_label_outside_counts_as_none() -> None:
    network = ConditionalGenerator(3, 2, 1, 4, 3, 4, 5)
    latents = torch.ones(2, 3)
    none = network(latents, torch.tensor([-1, 2]))
    with torch.no_grad():
        network.from_label.weight.zero_()
    torch.testing.assert_close(none, network(latents, torch.tensor([0, 1])))


@pytest.mark.parametrize("member", [ConditionalGenerator, ConditionalDiscriminator])
@pytest.mark.parametrize("field", ["classes", "channels", "size", "label_width", "width"])
def test_bad_arguments_are_named(member: type, field: str) -> None:
    arguments: dict[str, Any] = {field: 0}
    with pytest.raises(InvalidValue, match=f"^{field}: got 0"):
        member(**arguments)
