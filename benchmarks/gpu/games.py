"""Games for the checks on a GPU, and steps of one game on two devices from the same random numbers."""

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
from detente.schedules import Linear
from detente.state import State
from detente.training.step import Draw, batch_to_device, draw, state_to_device

LATENT, BATCH, POINTS = 16, 64, 512


def with_dtype(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a module with parameters and buffers converted to a dtype."""
    return module.to(dtype)


def ring(
    dtype: torch.dtype,
    layer: Callable[[], nn.Module] | None = None,
    transform: Callable[[nn.Module], nn.Module] = lambda module: module,
    objective: str = "non_saturating",
    **settings: object,
) -> Adversarial:
    """Return the ring with MLPs of width 64, with an optional layer after the first linear one."""

    def network(inputs: int, outputs: int) -> nn.Module:
        extra_layers = [] if layer is None else [layer()]
        layers = [nn.Linear(inputs, 64), *extra_layers, nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Tanh()]
        return with_dtype(transform(nn.Sequential(*layers, nn.Linear(64, outputs))), dtype)

    data = settings.pop("data", Ring())
    generator, discriminator = partial(network, LATENT, 2), partial(network, 2, 1)
    return Adversarial(generator, discriminator, data, LATENT, objective, batch=BATCH, **settings)  # pyright: ignore


def finite_ring(dtype: torch.dtype) -> Adversarial:
    """Return a zero-sum ring with finite sums and without BatchNorm, which every method accepts."""
    return ring(dtype, objective="minimax", data=FixedMixture(Ring(), POINTS), fixed_latents=True)


def random_images(count: int, size: int, channels: int) -> Arrays:
    """Return random images with ten labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    return Arrays(torch.randint(256, shape, generator=generator).to(torch.uint8), torch.arange(count) % 10)


def dcgan(
    size: int, width: int, batch: int, dtype: torch.dtype = torch.float32, batch_norm: bool = True, **settings: object
) -> Adversarial:
    """Return a DCGAN on random images of 28 or 64 pixels a side; the content does not affect the time."""
    channels, latent = (3, 100) if size == 64 else (1, 128)
    options = {"channels": channels, "size": size, "width": width, "batch_norm": batch_norm}

    def generator() -> nn.Module:
        return with_dtype(DcganGenerator(latent=latent, **options), dtype)

    def discriminator() -> nn.Module:
        return with_dtype(DcganDiscriminator(**options), dtype)

    data = random_images(max(512, batch), size, channels)
    return Adversarial(generator, discriminator, data, latent, batch=batch, **settings)  # pyright: ignore


def wide_ring() -> Adversarial:
    """Return job T's game: MLPs of width 128, batches of 256."""
    game = job_t.game()
    assert isinstance(game, Adversarial)
    return game


def games_by_layer(dtype: torch.dtype) -> dict[str, Callable[[], Game]]:
    """Return games with each kind of layer, penalty and filter."""

    def with_spectral_norm(module: nn.Module) -> nn.Module:
        for submodule in module.modules():
            if isinstance(submodule, nn.Linear):
                torch_spectral_norm(submodule)
        return module

    penalties = {"GP": GradientPenalty(), "R1": R1(), "R2": R2(), "DRAGAN": DRAGAN()}
    return {
        "BatchNorm": lambda: ring(dtype, lambda: nn.BatchNorm1d(64)),
        "LayerNorm": lambda: ring(dtype, lambda: nn.LayerNorm(64)),
        "spectral norm (ours)": lambda: ring(dtype, transform=spectral_norm),
        "spectral norm (torch's)": lambda: ring(dtype, transform=with_spectral_norm),
        **{name: (lambda penalty=penalty: ring(dtype, penalties=penalty)) for name, penalty in penalties.items()},
        "GP with BatchNorm": lambda: ring(dtype, lambda: nn.BatchNorm1d(64), penalties=GradientPenalty()),
        "DCGAN-28 with BatchNorm": lambda: dcgan(28, 8, 16, dtype),
        "DCGAN-28 with blur": lambda: dcgan(28, 8, 16, dtype, filter=GaussianBlur(Linear(2.0, 0.5, 9))),
        "DCGAN-64 with BatchNorm": lambda: dcgan(64, 4, 8, dtype),
    }


def to_device(random_input: Draw, device: torch.device) -> Draw:
    """Move the random input of a step to a device."""
    return Draw(
        tuple(batch_to_device(batch, device) for batch in random_input.batches),
        tuple(batch_to_device(noise, device) for noise in random_input.noise),
    )


def step_on_device(game: Game, method: Method, state: State, generator: torch.Generator, device: torch.device) -> State:
    """Return the state after one step on a device, with random numbers from a CPU generator."""
    state = method.prepare(game, state, generator)
    random_input = draw(game, method, state_to_device(state, "cpu"), generator)
    return method.step(game, state, to_device(random_input, device).batches, to_device(random_input, device).noise)[0]


@torch.no_grad()
def device_difference(game: Game, method: Method, device: torch.device, steps: int) -> float:
    """Return the largest relative difference of the states after some steps on a device and on the CPU."""
    cpu_generator = torch.Generator().manual_seed(1)
    cpu_state = method.initial(game, cpu_generator)
    device_generator = torch.Generator()
    device_generator.set_state(cpu_generator.get_state())
    device_state = state_to_device(cpu_state, device)
    for _ in range(steps):
        cpu_state = step_on_device(game, method, cpu_state, cpu_generator, torch.device("cpu"))
        device_state = step_on_device(game, method, device_state, device_generator, device)
    return largest_difference(cpu_state, device_state)


def largest_difference(state: State, other: State) -> float:
    """Return the largest ‖a − b‖/‖a‖ over the players' parameters a and b of two states; infinite for NaN."""
    return max(relative_difference(vector, other.vectors[name]) for name, vector in state.vectors.items())


def relative_difference(expected: Tensor, value: Tensor) -> float:
    """Return ‖expected − value‖/‖expected‖ in float64; infinite for NaN."""
    expected, value = expected.detach().cpu().double(), value.detach().cpu().double()
    distance = float((expected - value).norm() / expected.norm().clamp_min(torch.finfo(torch.float64).tiny))
    return distance if distance == distance else float("inf")
