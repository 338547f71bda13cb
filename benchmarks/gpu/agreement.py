"""Every method, and every kind of network, on the device against the processor, from the same random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import BATCH, LATENT, POINTS, apart, dcgan, finite_ring, kinds, relative, ring, taken
from detente import methods
from detente.data.fixed_mixture import FixedMixture
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.training.step import to_device

STEPS = 3
EXACT, ROUNDING = 1e-8, 1e-3  # of float64; of float32, where Adam turns the rounding of small slopes into steps
DCGAN_METHODS = ("simultaneous", "alternating", "extragradient", "consensus", "svrg", "competitive", "sgan", "averaged")


def method_of(name: str) -> Method:
    """Return a method with its defaults, SGAN with two pairs."""
    make = methods.names()[name]
    return make(pairs=2) if "sgan" in name else make()


def without_tf32() -> None:
    """Let convolutions and products in float32 be computed in float32: the comparison is about rounding."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def every_method(findings: Findings) -> None:
    """All methods on a ring of MLPs, in both precisions."""
    without_tf32()
    makes: dict[str, Callable[[torch.dtype], Game]] = {
        "BatchNorm": lambda dtype: ring(dtype, lambda: nn.BatchNorm1d(64)),
        "finite sums": finite_ring,
    }
    for name in methods.names():
        with findings.guarded(name):
            method = method_of(name)
            for label, make in makes.items():
                double, single = make(torch.float64), make(torch.float32)
                try:
                    method.check(double)
                except InvalidValue:
                    continue
                exact = apart(double, method, findings.device, STEPS)
                rounded = apart(single, method, findings.device, STEPS)
                findings.difference(f"{name}, ring, {label}", exact, EXACT, f"float32: {rounded:.1e}")
                if rounded > ROUNDING:
                    findings.difference(f"{name}, ring, {label}, float32", rounded, ROUNDING)


def networks(findings: Findings) -> None:
    """Kinds of layers, penalties and filters under a first-order and a second-order method; DCGAN-28 under several."""
    without_tf32()
    for label, make in kinds(torch.float64).items():
        for name in ("alternating", "consensus"):
            with findings.guarded(f"{name}, {label}"):
                found = apart(make(), method_of(name), findings.device, STEPS)
                rounded = apart(kinds(torch.float32)[label](), method_of(name), findings.device, STEPS)
                findings.difference(f"{name}, {label}", found, EXACT, f"float32: {rounded:.1e}")
    for name in DCGAN_METHODS:
        with findings.guarded(f"{name}, DCGAN-28"):
            objective = "minimax" if name == "competitive" else "non_saturating"
            finite = name == "svrg"
            game = dcgan(28, 4, 8, torch.float64, not finite, fixed_latents=finite, objective=objective)
            findings.difference(f"{name}, DCGAN-28", apart(game, method_of(name), findings.device, 2), EXACT)
    _modules_on_the_device(findings)
    _dropout(findings)


def _modules_on_the_device(findings: Findings) -> None:
    """Modules that the user has already moved to the device, under methods that try a game before they start."""
    with findings.guarded("modules already on the device"):
        for name in ("alternating", "svrg", "covariance_langevin", "debiased_consensus"):
            made, judge = (module.to(findings.device) for module in finite_ring(torch.float64).modules.values())
            points = FixedMixture(Ring(), POINTS)
            game = Adversarial(made, judge, points, LATENT, "minimax", batch=BATCH, fixed_latents=True)
            method = method_of(name)
            state = method.initial(game, torch.Generator().manual_seed(0))
            there = taken(game, method, state, torch.Generator().manual_seed(1), findings.device)
            here = taken(game, method, to_device(state, "cpu"), torch.Generator().manual_seed(1), torch.device("cpu"))
            found = max(relative(here.vectors[player], there.vectors[player]) for player in game.players)
            findings.difference(f"{name}, modules already on the device", found, EXACT)


def _dropout(findings: Findings) -> None:
    """Dropout draws other numbers on another device, but the same ones from the same batch, and disturbs nobody."""
    with findings.guarded("dropout"):
        game, method = ring(torch.float64, lambda: nn.Dropout(0.3)), method_of("alternating")
        state = to_device(method.initial(game, torch.Generator().manual_seed(0)), findings.device)

        def random_state() -> torch.Tensor:
            return torch.cuda.get_rng_state() if findings.gpu else torch.get_rng_state()

        before = random_state()
        first, again = (taken(game, method, state, torch.Generator().manual_seed(1), findings.device) for _ in range(2))
        same = all(torch.equal(first.vectors[name], again.vectors[name]) for name in game.players)
        findings.add("dropout: the same batch twice", "same bits" if same else "other bits", "same bits", same)
        calm = torch.equal(before, random_state())
        findings.add("dropout: the device's global random state", "untouched" if calm else "changed", "untouched", calm)
    with findings.guarded("dropout, modules"):
        stochastic = ring(torch.float64, lambda: nn.Dropout(0.3)).stochastic
        findings.add("dropout is noticed", str(stochastic), "True", stochastic, f"batches of {BATCH}")
