"""A resumed run checks that data, networks and torch are the same as before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import detente
from detente import errors, methods
from detente.data.arrays import Arrays
from detente.data.gaussian_mixture import Ring
from detente.training.loop import train
from detente.training.run_directory.description import description
from detente.training.run_directory.record import Record


def run_on(samples: torch.Tensor, steps: int = 2) -> detente.Run:
    game = detente.Adversarial(nn.Linear(2, 3), nn.Linear(3, 1), samples, latent=2, batch=4)
    return detente.Run(game, methods.simultaneous(), steps=steps, compile="off", samples=8)


def trained(run: detente.Run, directory: Path, **options: Any) -> None:
    with Record(run, directory, description(run), **options) as record:
        for _ in record.follow(train(run, record.start)):
            pass


@pytest.fixture
def samples() -> torch.Tensor:
    return torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("change", ["fewer", "one number", "order"])
def test_changed_data_are_refused_unless_allowed(tmp_path: Path, samples: torch.Tensor, change: str) -> None:
    trained(run_on(samples), tmp_path / "run")
    other = {"fewer": samples[:19], "order": samples.flip(0), "one number": samples.clone()}[change]
    if change == "one number":
        other[7, 1] += 1e-3
    with pytest.raises(errors.InvalidValue, match="20 samples.*--changed-data"):
        trained(run_on(other, steps=4), tmp_path / "run", resume=True)
    trained(run_on(other, steps=4), tmp_path / "run", resume=True, changed_data=True)


def test_the_same_data_are_accepted(tmp_path: Path, samples: torch.Tensor) -> None:
    trained(run_on(samples), tmp_path / "run")
    trained(run_on(samples.clone(), steps=4), tmp_path / "run", resume=True)


def test_another_torch_version_gives_a_warning(tmp_path: Path, samples: torch.Tensor) -> None:
    trained(run_on(samples), tmp_path / "run")
    path = tmp_path / "run" / "run.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["versions"]["torch"] = "1.0"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.warns(UserWarning, match="torch 1.0"):
        trained(run_on(samples, steps=4), tmp_path / "run", resume=True)


def test_changed_code_of_the_networks_gives_a_warning(
    tmp_path: Path, samples: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_with(body: str, steps: int) -> detente.Run:
        source = f"from torch import nn\nclass Own(nn.Linear):\n    def forward(self, x):\n        return {body}\n"
        name = f"own_{steps}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        network = __import__(name).Own
        game = detente.Adversarial(network(2, 3), nn.Linear(3, 1), samples, latent=2, batch=4)
        return detente.Run(game, methods.simultaneous(), steps=steps, compile="off", samples=8)

    trained(run_with("super().forward(x)", 2), tmp_path / "run")
    with pytest.warns(UserWarning, match="code of the networks has changed"):
        trained(run_with("super().forward(2 * x)", 4), tmp_path / "run", resume=True)
    assert "own_2" in sys.modules


def test_fingerprints_identify_a_set() -> None:
    samples = torch.arange(12.0).reshape(6, 2)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    prints = [
        Arrays(samples).fingerprint(),
        Arrays(samples, labels).fingerprint(),
        Arrays(samples, 1 - labels).fingerprint(),
        Arrays(samples.reshape(3, 4)).fingerprint(),
        Ring().fingerprint(),
        Ring(modes=7).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert Arrays(samples.numpy().copy()).fingerprint() == prints[0]
    assert Ring().fingerprint() == Ring().fingerprint()
