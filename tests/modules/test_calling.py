"""Ordinary modules in a game: `call` against the module itself, buffers, frozen and tied parameters, randomness."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from detente import methods
from detente.autodiff import vector_field, vector_jacobian
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Vectors
from detente.games.adversarial import Adversarial
from detente.modules.calling import call, copied, evaluating, trainable
from detente.modules.layout import Layout
from detente.networks.mlp import MLP
from detente.networks.spectral_norm import spectral_norm
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1


class Tied(nn.Module):
    """An autoencoder whose two layers share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(3, 3, bias=False), nn.Linear(3, 3)
        self.up.weight = self.down.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.tanh(self.down(x)))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return make()


MODULES: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(3, 2, 5, 1),
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)),
    "batch norm by count": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 1)),
    "our spectral norm": lambda: spectral_norm(MLP(3, 2, 5, 1)),
    "spectral norm": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 1)),
    "spectral norm by hook": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 1)),
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 1)),
    "tied": Tied,
}
every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES.keys())


def inside(module: nn.Module) -> tuple[Layout, Tensor, dict[str, Tensor]]:
    layout = Layout.of(trainable(module))
    with torch.no_grad():
        vector = layout.flatten(trainable(module))
    return layout, vector, {name: buffer.clone() for name, buffer in module.named_buffers()}


def inputs(seed: int = 0, columns: int = 3) -> Tensor:
    return torch.randn(6, columns, generator=torch.Generator().manual_seed(seed))


@every_module
def test_call_equals_the_module(make: Callable[[], nn.Module]) -> None:
    """Values, gradients, and buffers after three calls; the module and the buffers given stay as they are."""
    plain = seeded(make)
    module = copied(plain)
    layout, vector, buffers = inside(module)
    untouched = copy.deepcopy({**module.state_dict()}), {name: buffer.clone() for name, buffer in buffers.items()}
    leaf = vector.clone().requires_grad_()
    initial_buffers = buffers
    for seed in range(3):
        expected = plain(inputs(seed))
        output, buffers = call(module, layout, leaf, buffers, inputs(seed))
        torch.testing.assert_close(output, expected, rtol=0, atol=0)
    torch.testing.assert_close(buffers, dict(plain.named_buffers()), rtol=0, atol=0)
    torch.testing.assert_close({**module.state_dict()}, untouched[0], rtol=0, atol=0)
    torch.testing.assert_close(initial_buffers, untouched[1], rtol=0, atol=0)

    output.square().sum().backward()
    expected.square().sum().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    assert leaf.grad is not None
    torch.testing.assert_close(layout.unflatten(leaf.grad), gradients, rtol=1e-5, atol=1e-7)


@every_module
def test_call_with_other_parameters(make: Callable[[], nn.Module]) -> None:
    """The parameters really come from the vector, also behind parametrisations and where they are tied."""
    first, second = seeded(make), seeded(make)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.3).add_(0.1)
    layout, vector, buffers = inside(second)
    output, _ = call(first, layout, vector, buffers, inputs())
    torch.testing.assert_close(output, second(inputs()), rtol=0, atol=0)


def test_batch_norm_is_updated_once_per_evaluation() -> None:
    """Under plain autograd, `grad` of `grad` by consensus, and `vmap`; by the formula 0.9·old + 0.1·new."""
    game = gan(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), MLP(2, 1, 4, 1))
    vectors, buffers, batch = point(game)
    plain = copied(game.modules["generator"])
    with torch.no_grad():
        hidden = plain[0](batch["latent"])  # type: ignore[index]
    mean, variance = 0.1 * hidden.mean(0), 0.9 + 0.1 * hidden.var(0)

    def after_field(vectors: Vectors, buffers: Buffers, batch: Batch) -> Buffers:
        return vector_field(game, vectors, buffers, batch).buffers

    def after_consensus(vectors: Vectors, buffers: Buffers, batch: Batch) -> Buffers:
        return vector_jacobian(game, vectors, buffers, batch)[0].buffers

    for evaluate in (after_field, after_consensus):
        batch_of_one = tree_map(lambda tensor: tensor.unsqueeze(0), (vectors, buffers, batch))
        mapped = tree_map(lambda tensor: tensor.squeeze(0), torch.func.vmap(evaluate)(*batch_of_one))
        for moved in (evaluate(vectors, buffers, batch), mapped):
            torch.testing.assert_close(moved["generator"]["1.running_mean"], mean, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(moved["generator"]["1.running_var"], variance, rtol=1e-5, atol=1e-6)
            assert int(moved["generator"]["1.num_batches_tracked"]) == 1


def gan(generator: nn.Module, discriminator: nn.Module, **settings: object) -> Adversarial:
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, data, 3, batch=6, **settings)  # type: ignore[arg-type]


def point(game: Adversarial, seed: int = 0) -> tuple[Vectors, Buffers, Batch]:
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = game.initial(generator)
    return vectors, buffers, game.draw(generator)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Linear(4, 1))


def test_statistics_of_a_discriminator_are_updated_by_real_samples_then_fakes() -> None:
    game = gan(MLP(3, 2, 4, 1), seeded(normed))
    vectors, buffers, batch = point(game)
    _, moved = game.losses(vectors, buffers, batch)
    plain = copied(game.modules["discriminator"])
    with torch.no_grad():
        plain(batch["real"])
        plain(game.modules["generator"](batch["latent"]))
    torch.testing.assert_close(moved["discriminator"], dict(plain.named_buffers()))
    _, moved = game.losses(vectors, buffers, batch, ("generator",))
    assert int(moved["discriminator"]["1.num_batches_tracked"]) == 1, "the generator reads fakes alone"


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1()], ids=["gradient_penalty", "r1"])
@pytest.mark.filterwarnings("ignore:normalisation")  # as the set-up deserves
def test_penalties_do_not_change_buffers(penalty: object) -> None:
    plain, penalised = (gan(MLP(3, 2, 4, 1), seeded(normed), penalties=p) for p in ((), penalty))
    vectors, buffers, batch = point(penalised)
    vectors["generator"] = point(plain)[0]["generator"]
    fewer = {name: number for name, number in batch.items() if not name.startswith("penalty")}
    first, second = plain.losses(vectors, buffers, fewer), penalised.losses(vectors, buffers, batch)
    assert not torch.equal(first[0]["discriminator"], second[0]["discriminator"])
    torch.testing.assert_close(second[1]["discriminator"], first[1]["discriminator"], rtol=0, atol=0)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, 1))


def test_dropout_masks_depend_on_the_batch_alone() -> None:
    game = gan(MLP(3, 2, 4, 1), dropping())
    assert game.stochastic and not game.traceable
    vectors, buffers, batch = point(game)
    before = torch.get_rng_state()
    first = game.losses(vectors, buffers, batch)[0]
    torch.rand(3)  # what happens outside does not matter
    second = game.losses(vectors, buffers, batch)[0]
    torch.set_rng_state(before)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    other = game.losses(vectors, buffers, {**batch, "seed": batch["seed"] + 1})[0]
    assert not torch.equal(other["discriminator"], first["discriminator"])


def test_the_global_random_state_does_not_change() -> None:
    before = torch.get_rng_state()
    game = gan(lambda: MLP(3, 2, 4, 1), dropping)  # type: ignore[arg-type]
    vectors, buffers, batch = point(game)
    vector_field(game, vectors, buffers, batch)
    state = methods.alternating().beginning(game, vectors, buffers, torch.Generator())
    game.sample(state, 5, torch.Generator().manual_seed(0))
    game.scores(state, batch["real"])
    assert torch.equal(torch.get_rng_state(), before)


def test_factories_are_initialised_from_the_generator() -> None:
    game = gan(lambda: MLP(3, 2, 4, 1), MLP(2, 1, 4, 1))  # type: ignore[arg-type]
    first, again, other = (game.initial(torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["generator"], other["generator"])
    assert torch.equal(first["discriminator"], other["discriminator"]), "a module keeps its parameters"


def test_tied_weights_share_one_part_of_the_vector() -> None:
    assert Layout.of(trainable(Tied())).size == 9 + 3


def test_frozen_parameters_do_not_change() -> None:
    generator = MLP(3, 2, 4, 1)
    generator.layers[0].requires_grad_(False)
    game = gan(generator, MLP(2, 1, 4, 1))
    assert game.layouts["generator"].names == ("layers.2.weight", "layers.2.bias")
    vectors, buffers, batch = point(game)
    expected = game.modules["generator"](batch["latent"])
    state = methods.alternating().beginning(game, vectors, buffers, torch.Generator())
    torch.testing.assert_close(game.generate(state, batch["latent"]), expected)
    with pytest.raises(InvalidValue, match="generator: got 'no trainable parameter'"):
        gan(generator.requires_grad_(False), MLP(2, 1, 4, 1))


@pytest.mark.parametrize("penalties", [(), (GradientPenalty(), R1())], ids=["plain", "penalised"])
@pytest.mark.filterwarnings("ignore:normalisation")  # as the set-up deserves
def test_modules_in_double_are_trained_in_double(penalties: tuple) -> None:
    game = gan(MLP(3, 2, 4, 1).double(), seeded(normed).double(), penalties=penalties)
    vectors, buffers, batch = point(game)
    for method in (methods.alternating(), methods.consensus(0.1)):
        state = method.beginning(game, vectors, buffers, torch.Generator())
        state, info = method.step(game, state, (batch,) * method.draws(game))
        assert {v.dtype for v in state.vectors.values()} == {loss.dtype for loss in info.losses.values()}
        assert state.vectors["generator"].dtype == torch.float64
        assert game.sample(state, 2, torch.Generator()).dtype == torch.float64


def test_a_network_of_two_precisions_is_refused() -> None:
    mixed = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double())
    with pytest.raises(InvalidValue, match="generator: .*one floating dtype"):
        gan(mixed, MLP(2, 1, 4, 1))


def test_a_given_module_keeps_its_modes() -> None:
    """Frozen statistics: a part in evaluation mode stays there, through sampling and scoring too."""
    discriminator = seeded(normed)
    discriminator[1].eval()  # type: ignore[index]
    game = gan(MLP(3, 2, 4, 1), discriminator)
    vectors, buffers, batch = point(game)
    state = methods.alternating().beginning(game, vectors, buffers, torch.Generator())

    def modes() -> list[bool]:
        return [part.training for part in game.modules["discriminator"].modules()]

    expected = [True, True, False, True, True]
    assert modes() == expected
    torch.testing.assert_close(game.losses(vectors, buffers, batch)[1], buffers, rtol=0, atol=0)
    game.scores(state, batch["real"])
    assert modes() == expected
    with pytest.raises(RuntimeError), evaluating(game.modules["discriminator"]):
        assert modes() == [False] * 5
        raise RuntimeError
    assert modes() == expected


def test_the_users_modules_are_never_changed() -> None:
    generator, discriminator = MLP(3, 2, 4, 1), seeded(normed)
    before = copy.deepcopy((generator.state_dict(), discriminator.state_dict()))
    game = gan(generator, discriminator)
    method = methods.consensus(0.1)
    vectors, buffers, batch = point(game)
    method.step(game, method.beginning(game, vectors, buffers, torch.Generator()), (batch,))
    after = generator.state_dict(), discriminator.state_dict()
    torch.testing.assert_close([dict(s) for s in after], [dict(s) for s in before], rtol=0, atol=0)


def test_write_and_read_are_inverse() -> None:
    game = gan(MLP(3, 2, 4, 1), seeded(normed))
    vectors, buffers, batch = point(game)
    method = methods.alternating()
    state = method.beginning(game, vectors, buffers, torch.Generator())
    for _ in range(3):
        state, _ = method.step(game, state, (batch, batch))
    generator, discriminator = MLP(3, 2, 4, 1), normed()
    game.write(state, generator, discriminator)
    for name, module in (("generator", generator), ("discriminator", discriminator)):
        layout, vector, written = inside(module)
        assert layout == game.layouts[name]
        torch.testing.assert_close((vector, written), (state.vectors[name], state.buffers[name]), rtol=0, atol=0)
        assert all(parameter.requires_grad for parameter in module.parameters())
    generator.eval()
    discriminator.eval()
    with torch.no_grad():
        torch.testing.assert_close(game.generate(state, batch["latent"]), generator(batch["latent"]))
        torch.testing.assert_close(game.scores(state, batch["real"]), discriminator(batch["real"]).reshape(-1))
    with pytest.raises(InvalidValue, match="generator"):
        game.write(state, MLP(3, 2, 1, 1), discriminator)


def test_a_batch_norm_that_counts_is_not_traced() -> None:
    """With `momentum=None` it reads its counter as a Python number, which tracing would freeze."""
    plain, counting = (
        nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, momentum=m), nn.Linear(4, 1)) for m in (0.1, None)
    )
    assert gan(MLP(3, 2, 4, 1), plain).traceable
    assert not gan(MLP(3, 2, 4, 1), counting).traceable


@pytest.mark.parametrize(
    "make",
    [lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 1)), lambda: nn.utils.spectral_norm(nn.Linear(2, 1))],
    ids=["parametrisation", "hook"],
)
def test_torchs_spectral_norm_trains_but_is_not_traced(make: Callable[[], nn.Module]) -> None:
    discriminator = make()
    discriminator(torch.zeros(1, 2))  # the hook leaves a computed weight, which deepcopy alone would refuse
    game = gan(MLP(3, 2, 4, 1), discriminator)
    assert not game.traceable and not game.stochastic
    vectors, buffers, batch = point(game)
    method = methods.consensus(0.1)
    state, info = method.step(game, method.beginning(game, vectors, buffers, torch.Generator()), (batch,))
    assert bool(info.finite) and not torch.equal(state.vectors["discriminator"], vectors["discriminator"])
    copied(game.modules["discriminator"])
