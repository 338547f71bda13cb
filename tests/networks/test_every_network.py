"""The interface of every network: initial weights from a generator, vmap, tracing, second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from detente.networks.convolutional import ConvolutionalDiscriminator, ConvolutionalGenerator
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.networks.image_mlp import ImageMlpDiscriminator, ImageMlpGenerator
from detente.networks.labelled import LabelledDiscriminator, LabelledGenerator
from detente.networks.mlp import MLP
from detente.networks.packed import Packed
from detente.networks.scaled_resnet import ScaledResnetDiscriminator, ScaledResnetGenerator
from detente.networks.sngan import SnganDiscriminator, SnganGenerator
from detente.networks.text_resnet import TextResnetDiscriminator, TextResnetGenerator
from detente.registry import members

Case = tuple[Callable[[], nn.Module], tuple[int, ...], bool]  # the network, shape of a sample, whether it has labels
SMALL: dict[str, Case] = {
    "mlp": (lambda: MLP(3, 2, 4, 1), (3,), False),
    "dcgan_generator": (lambda: DcganGenerator(3, width=2), (3,), False),
    "dcgan_discriminator": (lambda: DcganDiscriminator(width=2), (1, 28, 28), False),
    "convolutional_generator": (lambda: ConvolutionalGenerator(3, 1, 28, 2, batch_norm=True), (3,), False),
    "convolutional_discriminator": (lambda: ConvolutionalDiscriminator(1, 28, 2, 3, hidden=4), (1, 28, 28), False),
    "scaled_resnet_generator": (lambda: ScaledResnetGenerator(3, 1, 20, 2), (3,), False),
    "scaled_resnet_discriminator": (lambda: ScaledResnetDiscriminator(1, 20, 2), (1, 20, 20), False),
    "sngan_generator": (lambda: SnganGenerator(3, 1, 32, 2), (3,), False),
    "sngan_discriminator": (lambda: SnganDiscriminator(1, 32, 2), (1, 32, 32), False),
    "image_mlp_generator": (lambda: ImageMlpGenerator(3, 1, 4, (5, 6)), (3,), False),
    "image_mlp_discriminator": (lambda: ImageMlpDiscriminator(1, 4, (6, 5), dropout=0), (1, 4, 4), False),
    "text_resnet_generator": (lambda: TextResnetGenerator(5, 3, 8, 4, 2), (3,), False),
    "text_resnet_discriminator": (lambda: TextResnetDiscriminator(5, 8, 4, 2), (5, 8), False),
    "conditional_generator": (lambda: ConditionalGenerator(3, 2, 1, 4, 3, 4, 5), (3,), True),
    "conditional_discriminator": (lambda: ConditionalDiscriminator(2, 1, 4, 3, 2, 4), (1, 4, 4), True),
    "labelled_generator": (lambda: LabelledGenerator(DcganGenerator(5, width=2), 2), (3,), True),
    "labelled_discriminator": (lambda: LabelledDiscriminator(DcganDiscriminator(3, width=2), 2), (1, 28, 28), True),
    "packed": (lambda: Packed(DcganDiscriminator(2, width=2), 2), (1, 28, 28), False),
}
every_network = pytest.mark.parametrize("name", SMALL)


def network_and_inputs(name: str) -> tuple[Any, tuple[Tensor, ...]]:
    """Return a small network in double precision, and a batch of four for it."""
    build, shape, labelled = SMALL[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build().double()
    samples = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return network, (samples, torch.tensor([0, 1, 1, 0])) if labelled else (samples,)


def states(network: Any) -> list[dict[str, Tensor]]:
    """Return the tensors of a network from two seeds."""
    state_dicts = []
    for seed in range(2):
        network.reset_parameters(torch.Generator().manual_seed(seed))
        state_dicts.append({name: tensor.detach().clone() for name, tensor in network.state_dict().items()})
    return state_dicts


def called(network: nn.Module, state: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    return functional_call(network, {name: tensor.clone() for name, tensor in state.items()}, inputs)


def test_every_member_is_tested() -> None:
    assert set(SMALL) == set(members("networks"))


@every_network
def test_reset_depends_on_the_generator_alone(name: str) -> None:
    network, _ = network_and_inputs(name)
    values = []
    for seed in (0, 0, 1):
        torch.rand(1)
        network.reset_parameters(torch.Generator().manual_seed(seed))
        values.append(nn.utils.parameters_to_vector(network.parameters()))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@every_network
def test_construction_uses_torchs_global_generator(name: str) -> None:
    vectors = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            vectors.append(nn.utils.parameters_to_vector(SMALL[name][0]().parameters()))
    assert torch.equal(vectors[0], vectors[1]) and not torch.equal(vectors[0], vectors[2])


@every_network
def test_many_seeds_in_one_call_equal_one_by_one(name: str) -> None:
    network, inputs = network_and_inputs(name)
    tensors = states(network)
    stacked = {key: torch.stack([state[key] for state in tensors]) for key in tensors[0]}
    together = vmap(lambda state: called(network, state, inputs))(stacked)
    torch.testing.assert_close(together, torch.stack([called(network, state, inputs) for state in tensors]))


@every_network
def test_traced_network_equals_eager_at_other_parameters_and_samples(name: str) -> None:
    network, inputs = network_and_inputs(name)
    first, second = states(network)
    graph = make_fx(lambda state, *arguments: called(network, state, arguments))(first, *inputs)
    others = (inputs[0].flip(0), *(labels.roll(1) for labels in inputs[1:]))
    torch.testing.assert_close(graph(second, *others), called(network, second, others))


@every_network
def test_input_gradients_are_differentiable_in_the_parameters(name: str) -> None:
    network, inputs = network_and_inputs(name)
    samples = inputs[0].requires_grad_()
    parameters = list(network.parameters())
    (slope,) = torch.autograd.grad(network(samples, *inputs[1:]).square().sum(), samples, create_graph=True)
    second = torch.autograd.grad(slope.square().sum(), parameters, allow_unused=True)
    assert all(bool(gradient.isfinite().all()) for gradient in second if gradient is not None)
    assert any(bool(gradient.any()) for gradient in second if gradient is not None)
