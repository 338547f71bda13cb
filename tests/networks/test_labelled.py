"""Labels for any network of images: parameter counts of DCGANs, and how labels enter both players."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.networks.labelled import LabelledDiscriminator, LabelledGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_counts_of_dcgans_at_width_64_for_ten_digits_are_3132160_and_669696() -> None:
    generator = 110 * 512 * 9 + (512 * 256 + 256 * 128 + 128) * 16 + 2 * (512 + 256 + 128)
    discriminator = (11 * 64 + 64 * 128 + 128 * 256) * 16 + 256 * 9 + 2 * (128 + 256)
    assert count(LabelledGenerator(DcganGenerator(110))) == generator == 3_132_160
    assert count(LabelledDiscriminator(DcganDiscriminator(11))) == discriminator == 669_696


def test_the_generator_gets_the_latent_vector_and_the_label() -> None:
    network = LabelledGenerator(DcganGenerator(5, width=2), 2).eval()
    latents, labels = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0])
    images = network(latents, labels)
    torch.testing.assert_close(images, network.network(torch.cat([latents, torch.eye(2)[labels]], 1)))
    assert not torch.allclose(images, network(latents, 1 - labels))


def test_the_discriminator_gets_the_image_and_label_planes() -> None:
    network = LabelledDiscriminator(DcganDiscriminator(3, width=2), 2).eval()
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    planes = torch.zeros(3, 2, 28, 28)
    planes[0, 0] = planes[1, 1] = 1  # the third label is none of the two
    labels = torch.tensor([0, 1, 2])
    scores = network(images, labels)
    torch.testing.assert_close(scores, network.network(torch.cat([images, planes], 1)))
    assert not torch.allclose(scores, network(images, torch.tensor([1, 0, 1])))


@pytest.mark.parametrize("member", [LabelledGenerator, LabelledDiscriminator])
def test_bad_arguments_are_named(member: type) -> None:
    with pytest.raises(InvalidValue, match="^classes: got 0"):
        member(nn.Identity(), 0)
    with pytest.raises(InvalidValue, match="^network: got 3; .*nn.Module"):
        member(3)
