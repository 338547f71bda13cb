"""DCGAN networks: sizes by hand, table 1 of SVRG-GAN layer by layer, initial weights, purity."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from detente.errors import InvalidValue
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# By hand: in · out · kernel² of each convolution, then 2 · channels of each BatchNorm.
GENERATOR_COUNTS = {
    (28, 128, 1): 128 * 512 * 9 + 512 * 256 * 16 + 256 * 128 * 16 + 128 * 1 * 16 + 2 * (512 + 256 + 128),
    (32, 128, 3): 128 * 256 * 16 + 256 * 128 * 16 + 128 * 64 * 16 + 64 * 3 * 16 + 2 * (256 + 128 + 64),
    (64, 100, 3): 3_576_704,  # the number that the well-known DCGAN of this size prints
}
DISCRIMINATOR_COUNTS = {
    (28, 1): 1 * 64 * 16 + 64 * 128 * 16 + 128 * 256 * 16 + 256 * 1 * 9 + 2 * (128 + 256),
    (32, 3): 3 * 64 * 16 + 64 * 128 * 16 + 128 * 256 * 16 + 256 * 1 * 16 + 2 * (128 + 256),
    (64, 3): 2_765_568,
}


@pytest.mark.parametrize(("size", "latent", "channels"), GENERATOR_COUNTS)
def test_generator_counts(size: int, latent: int, channels: int) -> None:
    network = DcganGenerator(latent, channels, size)
    assert count(network) == GENERATOR_COUNTS[size, latent, channels]


@pytest.mark.parametrize(("size", "channels"), DISCRIMINATOR_COUNTS)
def test_discriminator_counts(size: int, channels: int) -> None:
    assert count(DcganDiscriminator(channels, size)) == DISCRIMINATOR_COUNTS[size, channels]


def test_counts_at_28_are_3215104_and_659456() -> None:
    assert (count(DcganGenerator()), count(DcganDiscriminator())) == (3_215_104, 659_456)


def test_a_bias_takes_the_place_of_each_batch_norm_shift() -> None:
    assert count(DcganGenerator(batch_norm=False)) == 3_215_104 - (512 + 256 + 128)
    assert count(DcganDiscriminator(batch_norm=False)) == 659_456 - (128 + 256)
    for network in (DcganGenerator(batch_norm=False), DcganDiscriminator(batch_norm=False)):
        assert not list(network.buffers())


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_shapes_and_range(size: int, batch_norm: bool) -> None:
    generator = DcganGenerator(7, 3, size, width=4, batch_norm=batch_norm)
    images = generator(10 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (5, 3, size, size)
    assert images.abs().max() <= 1
    discriminator = DcganDiscriminator(3, size, width=4, batch_norm=batch_norm)
    assert discriminator(images).shape == (5,)
    assert discriminator(images[:1].repeat(2, 1, 1, 1)).shape == (2,)


def test_generator_at_28_is_table_1_layer_by_layer() -> None:
    table = nn.Sequential(
        nn.ConvTranspose2d(128, 512, 3, 1, 0, bias=False),
        nn.BatchNorm2d(512),
        nn.ReLU(),
        nn.ConvTranspose2d(512, 256, 4, 2, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 4, 2, 0, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    network = DcganGenerator()
    table.load_state_dict({name.removeprefix("layers."): value.clone() for name, value in network.state_dict().items()})
    latents = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(latents), table(latents.reshape(3, 128, 1, 1)))
    sides = []
    for layer in network.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    network(latents)
    assert sides == [3, 6, 14, 28]


def test_discriminator_at_28_is_table_1_without_its_sigmoid() -> None:
    table = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, 4, 2, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.LeakyReLU(0.2),
        nn.Conv2d(256, 1, 3, 1, 0, bias=False),
    )
    network = DcganDiscriminator()
    table.load_state_dict({name.removeprefix("layers."): value.clone() for name, value in network.state_dict().items()})
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(images), table(images).reshape(3))


def test_pytorch_initialisation_equals_that_of_plain_layers() -> None:
    for network in (DcganGenerator(width=4), DcganDiscriminator(width=4, batch_norm=False)):
        network.reset_parameters(torch.Generator().manual_seed(5))
        parameters = [p.detach().clone() for p in network.parameters()]
        torch.manual_seed(5)
        for layer in network.layers:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()
        torch.testing.assert_close(parameters, [p.detach() for p in network.parameters()])


def test_normal_initialisation_has_the_deviation_of_the_paper() -> None:
    network = DcganGenerator(initialisation="normal")
    for layer in network.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert abs(layer.weight.mean().item()) < 0.002
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
            assert 0.01 < layer.weight.std().item() < 0.03
            assert not layer.bias.any()
    biased = DcganDiscriminator(width=4, batch_norm=False, initialisation="normal").layers[2]
    assert isinstance(biased, nn.Conv2d) and biased.bias is not None and not biased.bias.any()


def test_reset_depends_on_the_generator_alone_and_resets_statistics() -> None:
    network = DcganDiscriminator(width=4, initialisation="normal")
    network(torch.ones(4, 1, 28, 28))
    states = []
    for seed in (0, 0, 1):
        torch.rand(1)
        network.reset_parameters(torch.Generator().manual_seed(seed))
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["layers.0.weight"], states[2]["layers.0.weight"])
    assert not states[0]["layers.3.running_mean"].any()


def test_many_seeds_in_one_call_equal_one_by_one() -> None:
    network = DcganGenerator(3, 1, 28, width=2)
    tensors = [{k: v.detach() for k, v in network.state_dict().items()} for _ in range(2)]
    for seed, state in enumerate(tensors):
        network.reset_parameters(torch.Generator().manual_seed(seed))
        state.update({name: value.detach().clone() for name, value in network.state_dict().items()})
    latents = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    stacked = {name: torch.stack([state[name] for state in tensors]) for name in tensors[0]}
    together = vmap(lambda state: functional_call(network, state, (latents,)))(stacked)
    torch.testing.assert_close(together, torch.stack([functional_call(network, s, (latents,)) for s in tensors]))


@pytest.mark.parametrize("member", [DcganGenerator, DcganDiscriminator])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 48}, "size: got 48; allowed: 28, 32 or 64"),
        ({"channels": 0}, "channels: got 0"),
        ({"width": 0}, "width: got 0"),
        ({"initialisation": "xavier"}, "initialisation: got 'xavier'"),
    ],
)
def test_bad_arguments_are_named(member: type, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        member(**change)


def test_latent_must_be_positive() -> None:
    with pytest.raises(InvalidValue, match="latent: got 0"):
        DcganGenerator(latent=0)
