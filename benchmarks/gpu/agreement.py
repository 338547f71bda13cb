"""Every method and kind of network on the device, compared with the CPU on the same random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import (
    BATCH,
    LATENT,
    POINTS,
    dcgan,
    device_difference,
    finite_ring,
    games_by_layer,
    relative_difference,
    ring,
    step_on_device,
)
from detente import methods
from detente.data.fixed_mixture import FixedMixture
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.training.step import state_to_device

STEPS = 3
EXACT = 1e-8  # tolerance in float64
ROUNDING = 1e-3  # tolerance in float32, where Adam amplifies the rounding of small gradients
DCGAN_METHODS = ("simultaneous", "alternating", "extragradient", "consensus", "svrg", "competitive", "sgan", "averaged")


def method_of(name: str) -> Method:
    """Return a method with its defaults, and SGAN with two pairs."""
    make_method = methods.names()[name]
    return make_method(pairs=2) if "sgan" in name else make_method()


def without_tf32() -> None:
    """Turn off TF32, so that float32 convolutions and products have float32 rounding."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def every_method(findings: Findings) -> None:
    """Compare all methods on a ring with MLPs, in float64 and float32."""
    without_tf32()
    make_game_by_label: dict[str, Callable[[torch.dtype], Game]] = {
        "BatchNorm": lambda dtype: ring(dtype, lambda: nn.BatchNorm1d(64)),
        "finite sums": finite_ring,
    }
    for name in methods.names():
        with findings.catch_errors(name):
            method = method_of(name)
            for label, make_game in make_game_by_label.items():
                float64_game, float32_game = make_game(torch.float64), make_game(torch.float32)
                try:
                    method.check(float64_game)
                except InvalidValue:
                    continue
                float64_difference = device_difference(float64_game, method, findings.device, STEPS)
                float32_difference = device_difference(float32_game, method, findings.device, STEPS)
                findings.add_difference(
                    f"{name}, ring, {label}", float64_difference, EXACT, f"float32: {float32_difference:.1e}"
                )
                if float32_difference > ROUNDING:
                    findings.add_difference(f"{name}, ring, {label}, float32", float32_difference, ROUNDING)


def networks(findings: Findings) -> None:
    """Compare layers, penalties and filters with a first-order and a second-order method, and DCGAN-28 with several."""
    without_tf32()
    for label, make_game in games_by_layer(torch.float64).items():
        for name in ("alternating", "consensus"):
            with findings.catch_errors(f"{name}, {label}"):
                difference = device_difference(make_game(), method_of(name), findings.device, STEPS)
                float32_difference = device_difference(
                    games_by_layer(torch.float32)[label](), method_of(name), findings.device, STEPS
                )
                findings.add_difference(f"{name}, {label}", difference, EXACT, f"float32: {float32_difference:.1e}")
    for name in DCGAN_METHODS:
        with findings.catch_errors(f"{name}, DCGAN-28"):
            objective = "minimax" if name == "competitive" else "non_saturating"
            finite = name == "svrg"
            game = dcgan(28, 4, 8, torch.float64, not finite, fixed_latents=finite, objective=objective)
            findings.add_difference(
                f"{name}, DCGAN-28", device_difference(game, method_of(name), findings.device, 2), EXACT
            )
    _modules_on_the_device(findings)
    _dropout(findings)


def _modules_on_the_device(findings: Findings) -> None:
    """Check modules that are already on the device, with methods that run checks on a game before they start."""
    with findings.catch_errors("modules already on the device"):
        for name in ("alternating", "svrg", "covariance_langevin", "debiased_consensus"):
            generator, discriminator = (
                module.to(findings.device) for module in finite_ring(torch.float64).modules.values()
            )
            points = FixedMixture(Ring(), POINTS)
            game = Adversarial(generator, discriminator, points, LATENT, "minimax", batch=BATCH, fixed_latents=True)
            method = method_of(name)
            state = method.initial(game, torch.Generator().manual_seed(0))
            device_state = step_on_device(game, method, state, torch.Generator().manual_seed(1), findings.device)
            cpu_state = step_on_device(
                game, method, state_to_device(state, "cpu"), torch.Generator().manual_seed(1), torch.device("cpu")
            )
            difference = max(
                relative_difference(cpu_state.vectors[player], device_state.vectors[player]) for player in game.players
            )
            findings.add_difference(f"{name}, modules already on the device", difference, EXACT)


def _dropout(findings: Findings) -> None:
    """Check that dropout is reproducible for one batch and leaves the device's global random state unchanged."""
    with findings.catch_errors("dropout"):
        game, method = ring(torch.float64, lambda: nn.Dropout(0.3)), method_of("alternating")
        state = state_to_device(method.initial(game, torch.Generator().manual_seed(0)), findings.device)

        def random_state() -> torch.Tensor:
            return torch.cuda.get_rng_state() if findings.gpu else torch.get_rng_state()

        before = random_state()
        first, second = (
            step_on_device(game, method, state, torch.Generator().manual_seed(1), findings.device) for _ in range(2)
        )
        same = all(torch.equal(first.vectors[name], second.vectors[name]) for name in game.players)
        findings.add("dropout: the same batch twice", "same bits" if same else "other bits", "same bits", same)
        unchanged = torch.equal(before, random_state())
        findings.add(
            "dropout: the device's global random state", "untouched" if unchanged else "changed", "untouched", unchanged
        )
    with findings.catch_errors("dropout, modules"):
        stochastic = ring(torch.float64, lambda: nn.Dropout(0.3)).stochastic
        findings.add("dropout is noticed", str(stochastic), "True", stochastic, f"batches of {BATCH}")
