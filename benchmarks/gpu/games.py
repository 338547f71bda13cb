"""The games on which a GPU is tried, and what it takes to play one on two devices from the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as torch_spectral_norm

from benchmarks import job_t
from detente.data.arrays import Arrays
from detente.data.fixed_mixture import FixedMixture
from detente.data.gaussian_mixture import Ring
from detente.filters.gaussian_blur import GaussianBlur
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.networks.spectral_norm import spectral_norm
from detente.penalties.dragan import DRAGAN
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.schedule import Linear
from detente.state import State
from detente.training.step import Draw, batch_to_device, draw, to_device

LATENT, BATCH, POINTS = 16, 64, 512


def floating(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a module with parameters and buffers of a dtype."""
    return module.to(dtype)


def ring(
    dtype: torch.dtype,
    layer: Callable[[], nn.Module] | None = None,
    change: Callable[[nn.Module], nn.Module] = lambda module: module,
    objective: str = "non_saturating",
    **settings: object,
) -> Adversarial:
    """Return the ring with MLPs of width 64 that have a layer of some kind after the first linear one."""

    def network(inputs: int, outputs: int) -> nn.Module:
        middle = [] if layer is None else [layer()]
        layers = [nn.Linear(inputs, 64), *middle, nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Tanh()]
        return floating(change(nn.Sequential(*layers, nn.Linear(64, outputs))), dtype)

    data = settings.pop("data", Ring())
    generator, discriminator = partial(network, LATENT, 2), partial(network, 2, 1)
    return Adversarial(generator, discriminator, data, LATENT, objective, batch=BATCH, **settings)  # pyright: ignore


def finite_ring(dtype: torch.dtype) -> Adversarial:
    """Return a zero-sum ring without BatchNorm whose losses are finite sums, which every method accepts."""
    return ring(dtype, objective="minimax", data=FixedMixture(Ring(), POINTS), fixed_latents=True)


def pictures(count: int, size: int, channels: int) -> Arrays:
    """Return random images with ten labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    return Arrays(torch.randint(256, shape, generator=generator).to(torch.uint8), torch.arange(count) % 10)


def dcgan(
    size: int, width: int, batch: int, dtype: torch.dtype = torch.float32, batch_norm: bool = True, **settings: object
) -> Adversarial:
    """Return a DCGAN for images of 28 or 64 pixels a side, on random images (their content changes no time)."""
    channels, latent = (3, 100) if size == 64 else (1, 128)
    common = {"channels": channels, "size": size, "width": width, "batch_norm": batch_norm}

    def generator() -> nn.Module:
        return floating(DcganGenerator(latent=latent, **common), dtype)

    def discriminator() -> nn.Module:
        return floating(DcganDiscriminator(**common), dtype)

    data = pictures(max(512, batch), size, channels)
    return Adversarial(generator, discriminator, data, latent, batch=batch, **settings)  # pyright: ignore


def wide_ring() -> Adversarial:
    """Return job T's game: MLPs of width 128, batches of 256."""
    game = job_t.game()
    assert isinstance(game, Adversarial)
    return game


def kinds(dtype: torch.dtype) -> dict[str, Callable[[], Game]]:
    """Return games with each kind of layer, penalty and filter."""

    def both(module: nn.Module) -> nn.Module:
        for part in module.modules():
            if isinstance(part, nn.Linear):
                torch_spectral_norm(part)
        return module

    penalties = {"GP": GradientPenalty(), "R1": R1(), "R2": R2(), "DRAGAN": DRAGAN()}
    return {
        "BatchNorm": lambda: ring(dtype, lambda: nn.BatchNorm1d(64)),
        "LayerNorm": lambda: ring(dtype, lambda: nn.LayerNorm(64)),
        "spectral norm (ours)": lambda: ring(dtype, change=spectral_norm),
        "spectral norm (torch's)": lambda: ring(dtype, change=both),
        **{name: (lambda one=one: ring(dtype, penalties=one)) for name, one in penalties.items()},
        "GP with BatchNorm": lambda: ring(dtype, lambda: nn.BatchNorm1d(64), penalties=GradientPenalty()),
        "DCGAN-28 with BatchNorm": lambda: dcgan(28, 8, 16, dtype),
        "DCGAN-28 with blur": lambda: dcgan(28, 8, 16, dtype, filter=GaussianBlur(Linear(2.0, 0.5, 9))),
        "DCGAN-64 with BatchNorm": lambda: dcgan(64, 4, 8, dtype),
    }


def moved(drawn: Draw, device: torch.device) -> Draw:
    """Return the random input of a step on a device."""
    return Draw(
        tuple(batch_to_device(b, device) for b in drawn.batches), tuple(batch_to_device(n, device) for n in drawn.noise)
    )


def taken(game: Game, method: Method, state: State, generator: torch.Generator, device: torch.device) -> State:
    """Return the state after one step on a device; the random numbers are those of the processor's generator."""
    state = method.prepare(game, state, generator)
    drawn = draw(game, method, to_device(state, "cpu"), generator)
    return method.step(game, state, moved(drawn, device).batches, moved(drawn, device).noise)[0]


@torch.no_grad()
def apart(game: Game, method: Method, device: torch.device, steps: int) -> float:
    """Return how far the state after some steps on a device is from the processor's, from the same random numbers."""
    here = torch.Generator().manual_seed(1)
    state = method.initial(game, here)
    there = torch.Generator()
    there.set_state(here.get_state())
    other = to_device(state, device)
    for _ in range(steps):
        state = taken(game, method, state, here, torch.device("cpu"))
        other = taken(game, method, other, there, device)
    return farthest(state, other)


def farthest(state: State, other: State) -> float:
    """Return the largest ‖a − b‖/‖a‖ over the players' parameters a and b of two states; NaN counts as infinite."""
    return max(relative(vector, other.vectors[name]) for name, vector in state.vectors.items())


def relative(expected: Tensor, found: Tensor) -> float:
    """Return ‖expected − found‖/‖expected‖ in float64; infinite where it is no number."""
    expected, found = expected.detach().cpu().double(), found.detach().cpu().double()
    distance = float((expected - found).norm() / expected.norm().clamp_min(torch.finfo(torch.float64).tiny))
    return distance if distance == distance else float("inf")
