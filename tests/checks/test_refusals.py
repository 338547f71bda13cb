"""What refusals of the library say as findings: the failure, the network, the error and the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import Adversarial, Networks
from detente.checks.base import Finding
from detente.checks.refusals import refusal_finding
from detente.errors import InvalidValue

PICTURES = 2 * torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1


def painter() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))


def judge(*last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1), *last)


def refused(build: Callable[[], Any]) -> Finding:
    with pytest.raises(InvalidValue) as caught:
        build()
    return refusal_finding(caught.value)


def game(generator: Callable[[], nn.Module] = painter, discriminator: Callable[[], nn.Module] = judge, **options: Any):
    return Adversarial(generator, discriminator, options.pop("data", PICTURES), latent=16, **options)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(33, 64))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).reshape(-1, 1, 8, 8)


class OwnCode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, 5]


def test_a_layer_that_raises() -> None:
    finding = refused(lambda: game(Inner))
    assert finding.failure == "wiring"
    assert "Your generator raised RuntimeError: mat1 and mat2 shapes" in finding.evidence
    assert "in layer body.2 (Linear(in_features=33" in finding.evidence
    finding = refused(lambda: game(discriminator=lambda: nn.Sequential(nn.Flatten(), OwnCode())))
    assert "Your discriminator raised IndexError" in finding.evidence
    assert "in layer 1 (OwnCode" in finding.evidence
    assert "line" in finding.evidence and "test_refusals.py" in finding.evidence


def test_a_layer_that_raises_in_networks() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        made = net.forger(batch["z"])
        return {"forger": -net.judge(made).mean(), "judge": net.judge(made).mean() - net.judge(batch["x"]).mean()}

    rows = {"x": PICTURES, "z": torch.randn(100, 16)}
    finding = refused(lambda: Networks({"forger": Inner, "judge": judge}, losses, data=rows, batch=8))
    assert "Your forger raised RuntimeError" in finding.evidence
    assert "in layer body.2" in finding.evidence


def one_pixel() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 8), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(4, 1))


@pytest.mark.parametrize(
    ("build", "failure", "text"),
    [
        (lambda: game(discriminator=lambda: judge(nn.Sigmoid())), "wiring", "probabilities"),
        (lambda: game(scores="probabilities"), "wiring", "outputs from"),
        (lambda: game(lambda: nn.Linear(16, 64)), "wiring", "(64, 64)"),
        (lambda: game(discriminator=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))), "wiring", "(64, 10)"),
        (lambda: game(data=torch.full((100, 1, 8, 8), float("nan"))), "blow-up", ""),
        (lambda: game(batch=200), "too few data", "200"),
        (lambda: game(discriminator=one_pixel), "normalisation", "1 (InstanceNorm2d"),
    ],
)
def test_refusals(build: Callable[[], Any], failure: str, text: str) -> None:
    finding = refused(build)
    assert finding.failure == failure
    assert text in finding.evidence
    assert finding.certainty == 0.95
    assert finding.remedy.endswith(".")
