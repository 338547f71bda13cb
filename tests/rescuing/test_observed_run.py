"""A run with observations: one that was killed continues exactly where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from detente import Adversarial, methods
from detente.rescuing.observed_run import ObservedRun
from detente.state import State

POINTS = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))


def game() -> Adversarial:
    def network(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))

    return Adversarial(lambda: network(2, 2), lambda: network(2, 1), POINTS, latent=2, batch=32)


def observe(state: State, step: int) -> dict[str, Any]:
    return {"norm": float(state.vectors["generator"].norm()), "t": step}


def observed(directory: Path, rate: float = 1e-3) -> ObservedRun:
    return ObservedRun(game(), methods.alternating(learning_rate=rate), directory, 60, 10, 3, observe)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = observed(tmp_path / "whole")
    assert list(whole.advance(60))[-1] == 60
    killed = observed(tmp_path / "killed")
    for step in killed.advance(60):
        if step >= 27:  # between two observations
            break
    again = observed(tmp_path / "killed")
    assert again.steps in (20, 27)
    for _ in again.advance(60):
        pass
    assert [point["step"] for point in whole.points] == [0, 10, 20, 30, 40, 50, 60]
    by_step = {point["step"]: point["norm"] for point in again.points}
    assert all(by_step[point["step"]] == point["norm"] for point in whole.points)
    assert torch.equal(again.final_state().vectors["generator"], whole.final_state().vectors["generator"])


def test_rounds_equal_one_long_run(tmp_path: Path) -> None:
    whole, rounds = observed(tmp_path / "whole"), observed(tmp_path / "rounds")
    for _ in whole.advance(60):
        pass
    for goal in (17, 40, 60):
        for _ in rounds.advance(goal):
            pass
        assert rounds.steps == goal
    assert torch.equal(rounds.final_state().vectors["generator"], whole.final_state().vectors["generator"])


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    for _ in observed(tmp_path / "run").advance(60):
        pass
    again = observed(tmp_path / "run")
    assert list(again.advance(60)) == []
    assert int(again.final_state().t) == 60


def test_divergence_is_kept(tmp_path: Path) -> None:
    run = observed(tmp_path / "run", rate=1e30)
    for _ in run.advance(60):
        pass
    assert run.diverged.startswith("diverged at step ")
    again = observed(tmp_path / "run", rate=1e30)
    assert again.diverged == run.diverged
    assert list(again.advance(60)) == []
