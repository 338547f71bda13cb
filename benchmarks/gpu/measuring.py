"""Metrics, diagnostics and commands on the device, against the same numbers from the processor."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.agreement import without_tf32
from benchmarks.gpu.command import called
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import relative
from detente.autodiff import jacobian
from detente.cli import configuration
from detente.diagnostics.gradient_statistics import gradient_statistics
from detente.diagnostics.jacobian_spectrum import leading_eigenvalues
from detente.diagnostics.path_angle import path_angle
from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.registry import members
from detente.state import State
from detente.training.step import to_device

NEAR = 1e-3  # of a metric of float32 samples
COUNTED = 0.02  # of a metric that counts samples: one may cross a border by rounding


def measuring(findings: Findings) -> None:
    """Every metric that has its games here, the spectra and statistics, and the commands that show them."""
    without_tf32()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DETENTE_CACHE"] = str(Path(folder) / "cache")
        _classifier()
        steps, width = (300, "32") if findings.gpu else (10, "4")
        runs = {
            "ring": ["--game", "ring", "--method", "consensus"],
            "digits": ["--game", "digits", "--game.width", width, "--method", "alternating"],
            "conditional_digits": ["--game", "conditional_digits", "--method", "alternating"],
        }
        for name, words in runs.items():
            directory = Path(folder) / name
            with findings.guarded(f"detente train --game {name}"):
                shown = ["--steps", str(steps), "--samples", "256", "--device", findings.device.type]
                called(["train", *words, *shown, "--out", str(directory)])
                _metrics(findings, directory)
            for command in ("diagnose", "sample", "report"):
                out = {
                    "diagnose": [],
                    "sample": ["--out", f"{directory}.png"],
                    "report": ["--out", f"{directory}.html"],
                }
                what = f"detente {command}, {name}"
                with findings.guarded(what):
                    called([command, str(directory), *out[command]])
                    findings.add(what, "exit status 0", "0", True)
        with findings.guarded("diagnostics"):
            _diagnostics(findings, Path(folder) / "ring", Path(folder) / "digits")


def _classifier() -> None:
    """Keep an untrained classifier of the digits, so that the metrics which ask for one have one."""
    torch.manual_seed(0)
    network = classifier.Network(1, 28, 10)
    made_up: dict[str, Any] = {"accuracy": 0.1, "held_out": 1, "trained_on": 1, "epochs": 0, "seed": 0, "data": "none"}
    classifier.save(network, name="digits", shape=(1, 28, 28), classes=10, **made_up)


def _metrics(findings: Findings, directory: Path) -> None:
    """Every metric at the end of a run, of the state where it is and of the same state on the processor."""
    run, trained = configuration.trained(directory)
    state = run.method.scheme.eval_state(trained.state)
    for name, kind in members("metrics").items():
        if name in ("fid", "kid", "inception_score"):  # whose network is not here
            continue
        with findings.guarded(f"{name}, {directory.name}"):
            metric: Metric = kind()
            if not metric.applies(run.game):
                continue
            there, here = (_measured(metric, run.game, at) for at in (state, to_device(state, "cpu")))
            apart = abs(there - here) / max(abs(here), 1e-3) if math.isfinite(here) else 0.0 if there != there else 1.0
            most = COUNTED if metric.unit or "Share" in metric.title else NEAR
            findings.difference(f"{name}, {directory.name}", apart, most, f"{there:.4g}; on the processor {here:.4g}")


def _measured(metric: Metric, game: Game, state: State) -> float:
    return float(metric(EvaluationContext(game, state, torch.Generator().manual_seed(7), 512)))


def _diagnostics(findings: Findings, ring: Path, digits: Path) -> None:
    run, trained = configuration.trained(ring)
    game, state = run.game, trained.state

    def both(look: Callable[[State, dict[str, torch.Tensor]], torch.Tensor], at: State, played: Game) -> float:
        drawn = played.draw(torch.Generator().manual_seed(3))
        found = [
            look(one, {name: tensor.to(one.t.device) for name, tensor in drawn.items()})
            for one in (to_device(at, "cpu"), at)
        ]
        return relative(*found)

    def dense(at: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return jacobian(game, at.vectors, at.buffers, batch)

    first = to_device(run.method.initial(game, torch.Generator().manual_seed(9)), findings.device)

    def path(at: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return path_angle(game, to_device(first, at.t.device), at, batch, points=11).norm

    def statistics(at: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        found = gradient_statistics(game, at, torch.Generator().manual_seed(4))
        return torch.tensor([(one.norm, one.variance) for one in found.values()])

    findings.difference("dense Jacobian of the ring", both(dense, state, game), 1e-3)
    findings.difference("field along a path", both(path, state, game), 1e-3)
    findings.difference("gradient statistics", both(statistics, state, game), 1e-3)
    large, at = configuration.trained(digits)

    def leading(where: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return leading_eigenvalues(large.game, where, batch, 3).eigenvalues.abs()

    with findings.guarded("leading eigenvalues"):
        found = both(leading, at.state, large.game)
        findings.difference("moduli of three leading eigenvalues of the DCGAN", found, 0.02)
