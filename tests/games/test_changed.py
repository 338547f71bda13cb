"""A GAN with some of its settings replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import Adversarial, Networks, methods
from detente.checks.switch import off
from detente.cli import configuration
from detente.errors import InvalidValue
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.game import Game
from detente.games.gan import gan_of
from detente.games.presets import changed, ring
from detente.games.stochastic_bilinear import StochasticBilinear
from detente.modules.output_range import SCALES, bounds
from detente.modules.rescaled import units_of
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.le_cam import LeCam
from detente.penalties.r1 import R1
from detente.training.step import Steps, draw


@pytest.fixture(autouse=True)
def _no_checks() -> Iterator[None]:
    """Switch the checks off: these tests use failing GANs on purpose."""
    with off():
        yield


def generator() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


def bounded() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())


def discriminator() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1))


def data() -> Tensor:
    return 400 + torch.tensor([1.0, 50.0]) * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


def gan(**settings: Any) -> Adversarial:
    return Adversarial(
        **{**dict(generator=generator, discriminator=discriminator, data=data(), latent=3, batch=16), **settings}
    )


def losses(net: Any, batch: Any) -> dict[str, Any]:
    fake = net.maker(torch.randn(len(batch["real"]), 3))
    judged = softplus(-net.judge(batch["real"])).mean() + softplus(net.judge(fake)).mean()
    return {"judge": judged, "maker": softplus(-net.judge(fake)).mean()}


def networks(**settings: Any) -> Networks:
    return Networks({"judge": discriminator, "maker": generator}, losses, data(), batch=16, **settings)


def trained(game: Game, steps: int, source: torch.Generator, state: Any = None) -> Any:
    method = methods.alternating(learning_rate=1e-3).playing(game)
    state = method.initial(game, source) if state is None else state
    for _ in range(steps):
        (state,), _ = Steps(game, method)([state], [[draw(game, method, state, source)]])
    return state


def test_the_bounds_of_a_generator_become_those_of_the_data() -> None:
    game = changed(gan(generator=bounded), rescale=True)
    assert isinstance(game, Adversarial)
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    vectors["generator"] *= 64
    samples = game._call("generator", vectors, buffers, torch.randn(256, 3, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(samples.amax(0), data().amax(0), rtol=0, atol=0.05)
    torch.testing.assert_close(samples.amin(0), data().amin(0), rtol=0, atol=0.05)


@pytest.mark.parametrize("last", [nn.Sigmoid, nn.Tanh])
def test_the_discriminators_input_is_centred_for_any_bounds(last: type[nn.Module]) -> None:
    maker = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(), nn.Linear(8, 2), last())
    game = changed(gan(generator=maker), rescale=True)
    assert isinstance(game, Adversarial)
    units = units_of(game.modules["discriminator"])
    assert units is not None
    scaled = units.standard(data())
    torch.testing.assert_close(scaled.amin(0), torch.tensor([-1.0, -1.0]), rtol=0, atol=0.05)
    torch.testing.assert_close(scaled.amax(0), torch.tensor([1.0, 1.0]), rtol=0, atol=0.05)


def test_the_reachable_range() -> None:
    x = torch.linspace(-1, 1, 9)
    assert bounds([torch.tanh(10 * scale * x) for scale in SCALES]) == pytest.approx((-1, 1))
    assert bounds([torch.relu(scale * x) for scale in SCALES]) == (0.0, None)
    assert bounds([scale * x for scale in SCALES]) == (None, None)


def test_penalties_are_taken_in_standard_units() -> None:
    standard = (data() - data().mean(0)) / data().std(0)
    point = torch.Generator().manual_seed(0)
    expected_game = gan(data=standard, penalties=[R1(2.0), GradientPenalty()])
    game = changed(gan(), rescale=True, penalties=[R1(2.0), GradientPenalty()])
    vectors, buffers = expected_game.initial(point)
    batch = expected_game.draw(torch.Generator().manual_seed(1))
    expected, _ = expected_game.losses(vectors, buffers, batch)
    own_buffers = game.initial(torch.Generator().manual_seed(0))[1]
    batch["real"] = data().mean(0) + data().std(0) * batch["real"]
    losses, _ = game.losses(vectors, own_buffers, batch)
    torch.testing.assert_close(losses["discriminator"], expected["discriminator"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(losses["generator"], expected["generator"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"rescale": True, "penalties": [R1(1.0)]},
        {"input_noise": 0.1},
        {"filter": GaussianSmoothing(0.5), "penalties": [GradientPenalty()]},
        {"initialization": True, "spectral_norm": True},
    ],
)
@pytest.mark.parametrize("make", [gan, networks])
def test_a_changed_game_is_resumed_exactly(make: Any, settings: dict[str, Any]) -> None:
    source = torch.Generator().manual_seed(0)
    game = changed(make(), **settings)
    half = trained(game, 2, source)
    position = source.get_state()
    whole = trained(game, 2, source, half)
    torch.rand(5)  # the global generator does not matter
    again = torch.Generator()
    again.set_state(position)
    resumed = trained(changed(make(), **settings), 2, again, half)
    for player in game.players:
        assert torch.equal(whole.vectors[player], resumed.vectors[player])


def test_the_users_game_and_modules_do_not_change() -> None:
    module = discriminator()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    game = gan(discriminator=module)
    changed(game, rescale=True, spectral_norm=True, input_noise=0.1, initialization=True, packed=2)
    assert not module._forward_pre_hooks and module.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert changed(game) is game


@pytest.mark.parametrize("settings", [{"separate": True}, {"separate": True, "rescale": True}, {"shuffle": True}])
def test_changes_apply_to_samples_under_another_name_in_custom_batches(settings: dict[str, Any]) -> None:
    class Items(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"image": torch.tensor([float(index), 1.0]), "index": index}

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        fake = net.judge(net.maker(torch.randn(len(batch["image"]), 3)))
        judged = softplus(-net.judge(batch["image"])).mean() + softplus(fake).mean()
        return {"judge": judged, "maker": softplus(-fake).mean()}

    loader = torch.utils.data.DataLoader(Items(), batch_size=8)
    game = changed(Networks({"maker": generator, "judge": discriminator}, losses, loader), **settings)
    gan = gan_of(game)
    assert gan.real(20, torch.Generator().manual_seed(0)).shape == (20, 2)
    assert gan.samples(*game.initial(torch.Generator().manual_seed(0)), 20, torch.Generator().manual_seed(0)).shape == (
        20,
        2,
    )
    first = game.draw(torch.Generator().manual_seed(0))[gan.real_entry][:, 0]
    assert (first.sort().values.tolist() == list(range(8))) != ("shuffle" in settings)


def test_impossible_changes_are_refused() -> None:
    with pytest.raises(InvalidValue, match="shuffle"):
        changed(networks(), shuffle=True)
    with pytest.raises(InvalidValue, match="game"):
        changed(StochasticBilinear())
    with pytest.raises(InvalidValue, match="objective"):
        changed(networks(), objective="hinge")
    with pytest.raises(InvalidValue, match="memory"):
        changed(networks(), penalties=[LeCam()])
    with pytest.raises(InvalidValue, match="separate"):
        changed(gan(), separate=True)
    with pytest.raises(InvalidValue, match="norm"):
        changed(gan(), norm=True)
    with pytest.raises(InvalidValue, match="rescaled"):
        changed(changed(gan(), rescale=True), rescale=True)


def test_games_are_nested_on_the_command_line() -> None:
    words = "--game changed --game.game ring --game.game.width 8 --game.penalties r1 --game.penalties.strength 0.5"
    parser = configuration.parser("train", "")
    options = configuration.parse(parser, [*words.split(), "--game.input_noise", "linear(0.3, 0, 50)", "--steps", "3"])
    run = configuration.build(options)
    assert run.game.penalties == (R1(0.5),) and run.game.filter is not None  # pyright: ignore
    again = configuration.rebuilt(configuration.resolved(options))
    assert repr(again.game.modules) == repr(ring(width=8).modules)  # pyright: ignore
    assert again.game.penalties == (R1(0.5),)  # pyright: ignore


def test_methods_take_betas_and_clip() -> None:
    game = networks()
    method = methods.averaged(learning_rate={"judge": 1e-3, "maker": 1e-4}, betas=(0.0, 0.9), clip=1.0)
    assert method.optimizer["judge"].optimizer.betas == (0.0, 0.9)  # pyright: ignore
    method.playing(game).check(game)
    with pytest.raises(InvalidValue, match="betas"):
        methods.alternating("sgd", betas=(0.0, 0.9))


def test_one_known_name_is_enough_for_a_method() -> None:
    players = {"critic": discriminator, "generator": generator}

    def named(net: Any, batch: Any) -> dict[str, Any]:
        fake = net.generator(torch.randn(len(batch["real"]), 3))
        return {"critic": (net.critic(fake) - net.critic(batch["real"])).mean(), "generator": -net.critic(fake).mean()}

    game = Networks(players, named, data(), batch=16)
    assert methods.alternating(discriminator_turns=3).playing(game).scheme.turns == {"critic": 3}  # pyright: ignore
