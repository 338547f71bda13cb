"""Metrics, diagnostics and commands on the device, compared with the CPU."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.agreement import without_tf32
from benchmarks.gpu.command import run_command
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import relative_difference
from detente.autodiff import jacobian
from detente.cli import recorded_runs
from detente.diagnostics.gradient_statistics import gradient_statistics
from detente.diagnostics.jacobian_spectrum import leading_eigenvalues
from detente.diagnostics.path_angle import path_angle
from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.registry import members
from detente.state import State
from detente.training.step import state_to_device

TOLERANCE = 1e-3  # for metrics of float32 samples
COUNT_TOLERANCE = 0.02  # for metrics that count samples: rounding may move a sample across a boundary


def measuring(findings: Findings) -> None:
    """Check every applicable metric, spectra and gradient statistics, and the commands that use them."""
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
        for name, game_options in runs.items():
            directory = Path(folder) / name
            with findings.catch_errors(f"detente train --game {name}"):
                run_options = ["--steps", str(steps), "--samples", "256", "--device", findings.device.type]
                run_command(["train", *game_options, *run_options, "--out", str(directory)])
                _metrics(findings, directory)
            for command in ("diagnose", "sample", "report"):
                output_options = {
                    "diagnose": [],
                    "sample": ["--out", f"{directory}.png"],
                    "report": ["--out", f"{directory}.html"],
                }
                title = f"detente {command}, {name}"
                with findings.catch_errors(title):
                    run_command([command, str(directory), *output_options[command]])
                    findings.add(title, "exit status 0", "0", True)
        with findings.catch_errors("diagnostics"):
            _diagnostics(findings, Path(folder) / "ring", Path(folder) / "digits")


def _classifier() -> None:
    """Store an untrained classifier of the digits for the metrics that need one."""
    torch.manual_seed(0)
    network = classifier.Network(1, 28, 10)
    metadata: dict[str, Any] = {"accuracy": 0.1, "held_out": 1, "trained_on": 1, "epochs": 0, "seed": 0, "data": "none"}
    classifier.save(network, name="digits", shape=(1, 28, 28), classes=10, **metadata)


def _metrics(findings: Findings, directory: Path) -> None:
    """Compare every metric of the last state on the device and on the CPU."""
    run, trained = recorded_runs.trained(directory)
    state = run.method.scheme.eval_state(trained.state)
    for name, kind in members("metrics").items():
        if name in ("fid", "kid", "inception_score"):  # their network is not available here
            continue
        with findings.catch_errors(f"{name}, {directory.name}"):
            metric: Metric = kind()
            if not metric.applies(run.game):
                continue
            device_value = _metric_value(metric, run.game, state)
            cpu_value = _metric_value(metric, run.game, state_to_device(state, "cpu"))
            if math.isfinite(cpu_value):
                difference = abs(device_value - cpu_value) / max(abs(cpu_value), 1e-3)
            else:
                difference = 0.0 if math.isnan(device_value) else 1.0
            tolerance = COUNT_TOLERANCE if metric.unit or "Share" in metric.title else TOLERANCE
            detail = f"{device_value:.4g}; on the processor {cpu_value:.4g}"
            findings.add_difference(f"{name}, {directory.name}", difference, tolerance, detail)


def _metric_value(metric: Metric, game: Game, state: State) -> float:
    return float(metric(EvaluationContext(game, state, torch.Generator().manual_seed(7), 512)))


def _diagnostics(findings: Findings, ring: Path, digits: Path) -> None:
    run, trained = recorded_runs.trained(ring)
    game, state = run.game, trained.state

    def device_difference(
        compute: Callable[[State, dict[str, torch.Tensor]], torch.Tensor], device_state: State, batch_game: Game
    ) -> float:
        batch = batch_game.draw(torch.Generator().manual_seed(3))
        values = [
            compute(state, {name: tensor.to(state.t.device) for name, tensor in batch.items()})
            for state in (state_to_device(device_state, "cpu"), device_state)
        ]
        return relative_difference(*values)

    def dense_jacobian(state: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return jacobian(game, state.vectors, state.buffers, batch)

    initial_state = state_to_device(run.method.initial(game, torch.Generator().manual_seed(9)), findings.device)

    def field_along_path(state: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return path_angle(game, state_to_device(initial_state, state.t.device), state, batch, points=11).norm

    def statistics(state: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        by_player = gradient_statistics(game, state, torch.Generator().manual_seed(4))
        return torch.tensor([(player.norm, player.variance) for player in by_player.values()])

    findings.add_difference("dense Jacobian of the ring", device_difference(dense_jacobian, state, game), 1e-3)
    findings.add_difference("field along a path", device_difference(field_along_path, state, game), 1e-3)
    findings.add_difference("gradient statistics", device_difference(statistics, state, game), 1e-3)
    digits_run, digits_training = recorded_runs.trained(digits)

    def leading_moduli(state: State, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return leading_eigenvalues(digits_run.game, state, batch, 3).eigenvalues.abs()

    with findings.catch_errors("leading eigenvalues"):
        difference = device_difference(leading_moduli, digits_training.state, digits_run.game)
        findings.add_difference("moduli of three leading eigenvalues of the DCGAN", difference, 0.02)
