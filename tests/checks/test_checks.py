"""Checks of a set-up before any step: each names its fault, and healthy set-ups are left in peace."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import Adversarial, methods
from detente.checks import off
from detente.checks.base import FAILURES, Finding, Setup, inspect
from detente.data.arrays import Arrays
from detente.errors import InvalidValue
from detente.games.conditional import Conditional
from detente.games.presets.images import conditional_digits, digits
from detente.games.presets.points import grid, ring
from detente.penalties.gradient_penalty import GradientPenalty
from detente.registry import members, name_of


@pytest.fixture(autouse=True)
def unchecked_construction() -> Iterator[None]:
    """Build broken games without warnings; tests/checks/test_at_construction.py is about these."""
    with off():
        yield


GENERATOR = torch.Generator().manual_seed(0)
DIGITS = 2 * torch.rand(2000, 1, 8, 8, generator=GENERATOR) - 1  # in [−1, 1]
PLANE = torch.randn(2000, 2, generator=GENERATOR)


def mlp(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], *([last] if last else []))


def image_generator(last: nn.Module | None) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(mlp(16, 64, 64, last=last), nn.Unflatten(1, (1, 8, 8)))


def image_discriminator() -> nn.Module:
    return nn.Sequential(nn.Flatten(), mlp(64, 64, 1))


def image_game(last: nn.Module | None = None, data: Any = DIGITS, **options: Any) -> Adversarial:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # data that look like [0, 1]
        return Adversarial(image_generator(last or nn.Tanh()), image_discriminator, data, latent=16, **options)


def plane_game(data: Tensor = PLANE, **options: Any) -> Adversarial:
    return Adversarial(lambda: mlp(4, 32, data.shape[1]), lambda: mlp(data.shape[1], 32, 1), data, latent=4, **options)


def zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def kinds(game: Adversarial, method: Any = None) -> set[str]:
    return {finding.failure for finding in inspect(game, method)}


def names(game: Adversarial, check: str) -> list[Finding]:
    return list(members("checks")[check]()(Setup(game)))


HEALTHY = {
    "ring": ring,
    "grid": grid,
    "digits": digits,
    "conditional digits": conditional_digits,
    "tanh on [-1, 1]": lambda: image_game(),
    "sigmoid on [0, 1]": lambda: image_game(nn.Sigmoid(), (DIGITS + 1) / 2),
    "linear output": lambda: image_game(nn.Identity()),
    "plane": lambda: plane_game(),
    "plane, mean of 8 deviations": lambda: plane_game(4 + 0.5 * PLANE),
    "penalty without batch norm": lambda: plane_game(penalties=GradientPenalty()),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_set_ups_are_left_in_peace(name: str) -> None:
    assert inspect(HEALTHY[name](), methods.alternating()) == []


@pytest.mark.parametrize(
    ("game", "failure"),
    [
        (lambda: image_game(nn.Tanh(), (DIGITS + 1) / 2), "data scale"),
        (lambda: image_game(nn.Sigmoid()), "data scale"),
        (lambda: image_game(nn.ReLU()), "data scale"),
        (lambda: plane_game(400 + 1.25 * PLANE), "data scale"),
        (lambda: plane_game(PLANE * torch.tensor([1.0, 1e4])), "data scale"),
        (lambda: plane_game(torch.ones(500, 2)), "data scale"),
        (lambda: plane_game(1e5 * PLANE), "data scale"),
        (lambda: image_game(data=DIGITS[:100]), "too few data"),
        (lambda: image_game(data=DIGITS[:10].repeat(200, 1, 1, 1)), "too few data"),
        (lambda: plane_game(PLANE[:60], batch=16), "too few data"),
    ],
)
def test_data_that_do_not_fit(game: Callable[[], Adversarial], failure: str) -> None:
    findings = inspect(game())
    assert findings, "no finding"
    assert findings[0].failure == failure


def test_zero_weights() -> None:
    game = Adversarial(lambda: zeroed(mlp(4, 8, 2)), lambda: zeroed(mlp(2, 8, 1)), PLANE, latent=4)
    findings = inspect(game)
    assert {finding.failure for finding in findings} == {"vanishing gradient"}
    assert "zero" in findings[0].evidence


class OnePixelNorm(nn.Module):
    """Instance norm as other libraries compute it: a map of one pixel becomes zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()


def test_a_score_that_ignores_the_sample() -> None:
    def discriminator() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, 8), OnePixelNorm(), nn.Conv2d(8, 1, 1), nn.Flatten())

    findings = inspect(Adversarial(image_generator(nn.Tanh()), discriminator, DIGITS, latent=16))
    assert findings[0].failure == "vanishing gradient"
    assert "same score" in findings[0].evidence


def test_a_generator_that_ignores_its_latents() -> None:
    class Ignorant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, z: Tensor) -> Tensor:
            return self.layer(torch.ones_like(z))

    findings = inspect(Adversarial(Ignorant, lambda: mlp(2, 8, 1), PLANE, latent=4))
    assert findings[0].failure == "wiring" and findings[0].by_hand
    assert "latent" in findings[0].evidence


def test_a_layer_without_a_gradient() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, z: Tensor) -> Tensor:
            return self.used(z) + 0 * self.unused(z)

    findings = inspect(Adversarial(Unused, lambda: mlp(2, 8, 1), PLANE, latent=4))
    assert [finding.failure for finding in findings] == ["wiring"]
    assert "unused.weight" in findings[0].evidence


def test_batch_norm_under_a_gradient_penalty() -> None:
    def discriminator() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    plain = Adversarial(lambda: mlp(4, 32, 2), discriminator, PLANE, latent=4)
    assert inspect(plain) == []  # DCGAN's discriminator has batch norm, too
    penalised = Adversarial(lambda: mlp(4, 32, 2), discriminator, PLANE, latent=4, penalties=GradientPenalty())
    assert kinds(penalised) == {"normalisation"}


@pytest.mark.parametrize(("scale", "failure"), [(1e-4, "vanishing gradient"), (1e3, "blow-up")])
def test_the_size_of_the_weights(scale: float, failure: str) -> None:
    def discriminator() -> nn.Module:
        module = mlp(2, 32, 32, 1)
        for parameter in module.parameters():
            parameter.data.mul_(scale)
        return module

    game = Adversarial(lambda: mlp(4, 32, 2), discriminator, PLANE, latent=4)
    assert failure in {finding.failure for finding in names(game, "weight_scale")}


def test_labels_that_are_ignored() -> None:
    class Generator(nn.Module):
        def __init__(self, uses: bool) -> None:
            super().__init__()
            self.layer, self.embed, self.uses = nn.Linear(4, 2), nn.Embedding(3, 4), uses

        def forward(self, z: Tensor, label: Tensor) -> Tensor:
            return self.layer(z + self.embed(label) * self.uses)

    class Discriminator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.embed = nn.Linear(2, 8), nn.Embedding(3, 8)

        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return (self.layer(x) * self.embed(label)).sum(1)

    data = Arrays(PLANE, torch.arange(2000) % 3)
    ignored = Conditional(lambda: Generator(False), Discriminator, data, latent=4)
    assert inspect(ignored)[0].failure == "labels ignored"
    assert "generator" in inspect(ignored)[0].evidence
    assert "labels ignored" not in kinds(Conditional(lambda: Generator(True), Discriminator, data, latent=4))


def test_a_kernel_that_the_stride_does_not_divide() -> None:
    def generator(kernel: int) -> nn.Module:
        layer = nn.ConvTranspose2d(16, 1, kernel, 2, 1)
        return nn.Sequential(
            nn.Linear(16, 16 * 16), nn.Unflatten(1, (16, 4, 4)), layer, nn.AdaptiveAvgPool2d(8), nn.Tanh()
        )

    for kernel, expected in ((3, ["artefact"]), (4, [])):
        game = Adversarial(lambda k=kernel: generator(k), image_discriminator, DIGITS, latent=16)
        assert [finding.failure for finding in names(game, "checkerboard")] == expected


@pytest.mark.parametrize(
    ("rates", "failures"),
    [
        ({"generator": 1e-5, "discriminator": 1e-3}, {"discriminator overpowers"}),
        ({"generator": 1e-4, "discriminator": 1e-5}, {"generator overpowers or discriminator dead"}),
        (0.1, {"blow-up"}),
        ({"generator": 1e-4, "discriminator": 4e-4}, set()),
    ],
)
def test_learning_rates(rates: Any, failures: set[str]) -> None:
    assert kinds(plane_game(), methods.alternating(learning_rate=rates)) == failures


def test_checks_change_nothing() -> None:
    game = ring()
    before, random = game.initial(torch.Generator().manual_seed(0)), torch.get_rng_state()
    inspect(game, methods.alternating())
    after = game.initial(torch.Generator().manual_seed(0))
    assert all(torch.equal(before[0][name], after[0][name]) for name in game.players)
    assert torch.equal(random, torch.get_rng_state())


def test_findings_are_checked() -> None:
    with pytest.raises(InvalidValue, match="failure"):
        Finding("bad luck", "", 0.5, "")
    with pytest.raises(InvalidValue, match="certainty"):
        Finding(FAILURES[0], "", 0.0, "")
    assert all(name_of(kind) == name for name, kind in members("checks").items())
