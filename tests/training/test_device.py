"""Devices other than the CPU: no tensor that a step makes or reads may lie on the wrong one.

The tests need no GPU: the state lies on torch's `meta` device, whose tensors have shapes but no values, and every
operation that mixes the two devices is recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import detente
from detente import methods
from detente.autodiff import through_layers
from detente.data.arrays import Arrays
from detente.data.fixed_mixture import FixedMixture
from detente.data.gaussian_mixture import Ring
from detente.fields.base import coupling_between_samples
from detente.filters.gaussian_blur import GaussianBlur
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear
from detente.metrics.context import EvaluationContext
from detente.modules.calling import seeded
from detente.networks.spectral_norm import spectral_norm
from detente.penalties.gradient_penalty import GradientPenalty
from detente.schedules import Linear
from detente.training.loop import applicable
from detente.training.settings import _try_setting
from detente.training.step import draw, state_to_device
from tests.refusals import Refusals, expected, refusals
from tests.training.small_runs import discriminator, generator, ring

MAY_MIX = ("copy_", "_to_copy", "index", "index_put")  # with indices on the processor


class DeviceWatch(TorchDispatchMode):
    """Records the operations that mix CPU tensors with others; scalars may be on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if tensor.device.type == "cpu" and tensor.dim() > 0]
        there = [tensor for tensor in tensors if tensor.device.type == "meta"]
        if here and there and func.overloadpacket.__name__ not in MAY_MIX:
            self.mixed.append(f"{func}: {tuple(here[0].shape)} here, {tuple(there[0].shape)} there")
        return func(*args, **(kwargs or {}))


class PartlyFrozen(nn.Module):
    """A generator with a layer that is not trained and therefore in no vector."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.trained = nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 2)

    def forward(self, latents: Tensor) -> Tensor:
        return self.trained(torch.tanh(self.frozen(latents)))


def pictures() -> Arrays:
    images = torch.randint(256, (12, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Arrays(images, torch.arange(12) % 3)


class Labelled(nn.Module):
    def __init__(self, inputs: int, outputs: int, *shape: int) -> None:
        super().__init__()
        self.table, self.linear, self.shape = nn.Embedding(3, inputs), nn.Linear(inputs, outputs), shape

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.linear(x.flatten(1) + self.table(labels)).reshape(-1, *self.shape)


def painter() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)))


def judge() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 1))


GAMES: dict[str, Callable[[], Game]] = {
    "ring": ring,
    "penalty": lambda: ring(batch_norm=False, penalty=True),
    "frozen": lambda: Adversarial(PartlyFrozen, discriminator, Ring(), latent=3, batch=4),
    "stored": lambda: Adversarial(generator, discriminator, FixedMixture(Ring(), 12), 3, batch=4, fixed_latents=True),
    "zero-sum": lambda: Adversarial(generator, discriminator, Ring(), 3, "wasserstein", batch=4),
    "spectral norm": lambda: Adversarial(generator, lambda: spectral_norm(discriminator()), Ring(), 3, batch=4),
    "blurred": lambda: Adversarial(painter, judge, pictures(), 3, batch=4, filter=GaussianBlur(Linear(2.0, 0.5, 9))),
    "conditional": lambda: Conditional(
        lambda: Labelled(3, 16, 1, 4, 4), lambda: Labelled(16, 1), pictures(), 3, penalties=GradientPenalty(), batch=4
    ),
    "bilinear": lambda: Bilinear(3),
    "dirac": DiracGAN,
}


@pytest.fixture(autouse=True)
def as_if_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use torch's own operations: `meta` has neither the fused kernel of Adam nor values to read."""
    for name, module in list(sys.modules.items()):
        if name.startswith("detente.") and "is_eager" in vars(module):
            monkeypatch.setattr(module, "is_eager", lambda *tensors: False)


def watched(act: Callable[[], object]) -> list[str]:
    """Return the mixed operations of an action, up to the first operation that needs values, which `meta` has not."""
    with DeviceWatch() as watch:
        try:
            act()
        except (RuntimeError, NotImplementedError) as error:
            if "meta" not in str(error).lower():
                raise
    return watch.mixed


METHODS = {name: make() for name, make in methods.names().items()}
# Every method on two games, every game under a few methods.
PAIRS = {(game, name) for name in METHODS for game in ("stored", "zero-sum")}
PAIRS |= {(game, name) for name in ("alternating", "consensus", "averaged", "sgld") for game in GAMES}


@cache
def game_of(name: str) -> Game:
    return GAMES[name]()


@cache
def find_refusals() -> Refusals:
    """Return the errors of the pairs that do not fit."""
    return refusals(PAIRS, GAMES, METHODS)


def test_methods_refuse_exactly_the_expected_games() -> None:
    """The expected refusals are in refusals.yaml, which `python -m tests.refusals` writes."""
    assert find_refusals() == expected(__name__)


@pytest.mark.parametrize(("game", "method"), sorted(PAIRS - find_refusals().keys()))
def test_a_step_stays_on_its_device(game: str, method: str) -> None:
    played, way, generator = game_of(game), METHODS[method], torch.Generator().manual_seed(0)
    state = state_to_device(way.initial(played, generator), "meta")
    drawn = draw(played, way, state, generator)
    assert {tensor.device.type for batch in (*drawn.batches, *drawn.noise) for tensor in batch.values()} <= {"meta"}
    assert watched(lambda: way.prepare(played, state, generator)) == []
    assert watched(lambda: way.step(played, state, drawn.batches, drawn.noise)) == []


@pytest.mark.parametrize("game", GAMES)
def test_measuring_stays_on_its_device(game: str) -> None:
    played, generator = game_of(game), torch.Generator().manual_seed(0)
    state = state_to_device(methods.simultaneous().initial(played, generator), "meta")
    for metric in applicable(played).values():
        assert watched(lambda metric=metric: metric(EvaluationContext(played, state, generator, 8))) == []


def test_mixed_devices_are_detected() -> None:
    """Scalars, copies and indices may be mixed."""
    here, there = torch.ones(3, 3), torch.ones(3, 3, device="meta")
    for mixed in (lambda: here @ there, lambda: here + there, lambda: torch.cat([here, there])):
        assert len(watched(mixed)) == 1
    for allowed in (lambda: there + torch.tensor(1.0), lambda: here.to("meta"), lambda: there[torch.tensor([0, 2])]):
        assert watched(allowed) == []


def test_a_stepper_trains_on_the_requested_device() -> None:
    stepper = detente.Stepper(ring(), methods.alternating(), device="meta")
    assert {tensor.device.type for tensor in stepper.state.flat().values()} == {"meta"}
    drawn = stepper._complete(torch.zeros(8, 2))
    assert {tensor.device.type for tensor in drawn.batches[0].values()} == {"meta"}


class GameOnDevice(Adversarial):
    """A GAN whose modules are already on another device, as after `module.cuda()`."""

    def initial(self, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        vectors, buffers = super().initial(generator)
        there = {
            player: {name: buffer.to("meta") for name, buffer in tensors.items()} for player, tensors in buffers.items()
        }
        return {name: vector.to("meta") for name, vector in vectors.items()}, there


@pytest.mark.parametrize(
    "look",
    [
        coupling_between_samples,
        lambda game: through_layers(game, "discriminator"),
        lambda game: _try_setting(game, methods.alternating(), "accumulate", 2, 2),
    ],
    ids=["coupling_between_samples", "through_layers", "settings"],
)
def test_a_game_is_checked_on_the_device_of_its_modules(look: Callable[[Game], object]) -> None:
    game = Adversarial(generator, discriminator, Ring(), latent=3, batch=4)
    game.__class__ = GameOnDevice  # its own checks run the modules, which `meta` cannot
    assert watched(lambda: look(game)) == []


def test_seeding_a_cpu_computation_does_not_seed_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    with seeded(5, torch.device("cpu")):
        drawn = torch.rand(3)
    assert seeds == []
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
