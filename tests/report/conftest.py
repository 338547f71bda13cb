"""Synthetic run directories for the tests of the report: several methods and seeds, one diverged, markup in names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

HOSTILE_NAME = "<script>alert('x')</script> & \"quoted\" %{x}"
METRICS = {
    "modes_covered": {"title": "Modes covered", "unit": "modes", "better": "higher"},
    "sliced_distance": {"title": "Sliced Wasserstein distance", "unit": "", "better": "lower"},
    "path_angle": {"title": "Path angle", "unit": "rad", "better": "none"},
}
ANGLES = np.arange(8) * np.pi / 4
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)


def fabricate(
    run: Path,
    *,
    quality: float = 0.9,
    steps: int = 3000,
    seeds: tuple[int, ...] = (0, 1, 2),
    diverged: dict[int, int] | None = None,
    status: str = "finished",
    cost: int = 2,
    configuration: dict[str, Any] | None = None,
    snapshots: int = 4,
    pictures: bool = False,
    regularised: bool = False,
) -> Path:
    """Write a plausible run directory: `quality` in [0, 1] is the share of the modes that it finally covers."""
    for folder in ("samples", "spectra"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    default = {"game": {"data": {"name": "gaussian_mixture", "modes": 8}}, "method": {"name": run.name}, "steps": steps}
    versions = {"versions": {"detente": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}, "machine": {"cpu": "a CPU"}}
    (run / "run.yaml").write_text(yaml.safe_dump({**default, **(configuration or {}), **versions}, sort_keys=False))
    diverged_at, lines, statuses = diverged or {}, [], {}
    for seed in seeds:
        noise = np.random.default_rng([seed, round(1000 * quality)])
        end = diverged_at.get(seed, steps)
        for step in range(steps // 30, end + 1, steps // 30):
            lines.append(
                json.dumps(_tick(noise, seed, step, step / steps, quality, cost, measured=step % (steps // 10) == 0))
            )
        if seed in diverged_at:
            lines.append(json.dumps({"seed": seed, "step": end, "losses": {"generator": None, "discriminator": None}}))
        state = "diverged" if seed in diverged_at else status
        statuses[str(seed)] = {
            "status": state,
            "step": end,
            "seconds": end * 0.004 + seed * 0.1,
            "diverged_at": diverged_at.get(seed),
        }
        for k in range(snapshots):
            step = k * steps // max(snapshots - 1, 1)
            if step <= end:
                _snapshot(run, noise, seed, step, step / steps, quality, pictures, regularised)
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (run / "metrics.json").write_text(json.dumps(METRICS))
    execution = "compiled, 10 steps a graph, 3 seeds in one"
    run_status = {"seeds": statuses, "execution": execution, "device": "cpu", "threads": 2}
    (run / "status.json").write_text(json.dumps(run_status))
    return run


def _tick(
    noise: np.random.Generator, seed: int, step: int, progress: float, quality: float, cost: int, *, measured: bool
) -> dict[str, Any]:
    wave = float(np.sin(8 * progress + 0.3 * seed) * (1 - quality))
    tick: dict[str, Any] = {
        "seed": seed,
        "step": step,
        "gradient_evaluations": cost * step,
        "seconds": 0.004 * step * cost / 2,
    }
    tick["losses"] = {
        "generator": 0.69 + 0.6 * wave + 0.05 * noise.normal(),
        "discriminator": 1.39 - 0.4 * wave + 0.05 * noise.normal(),
    }
    tick["gradient_norm"] = {
        player: float(np.exp(-4 * quality * progress + 0.3 * noise.normal())) for player in tick["losses"]
    }
    if measured:
        covered = 8 * quality * min(1.0, 2 * progress) + 0.15 * noise.normal()
        distance = 1.2 - quality * progress + 0.03 * noise.normal()
        tick["metrics"] = {
            "modes_covered": covered,
            "sliced_distance": distance,
            "path_angle": wave + 0.02 * noise.normal(),
        }
    return tick


def _snapshot(
    run: Path,
    noise: np.random.Generator,
    seed: int,
    step: int,
    progress: float,
    quality: float,
    pictures: bool,
    regularised: bool,
) -> None:
    name = f"seed{seed}-step{step:08d}"
    if pictures:
        grid = (noise.random((64, 64)) * 255 * (0.3 + 0.7 * progress)).astype(np.uint8)
        Image.fromarray(grid).save(run / "samples" / f"{name}.png")
    else:
        real = CENTRES[noise.integers(0, 8, 1000)] + 0.08 * noise.normal(size=(1000, 2))
        reached = max(1, round(8 * quality * progress))
        spread = 0.08 + 0.8 * (1 - progress)
        centres = CENTRES[noise.integers(0, reached, 1000)] * min(1, progress * 1.5)
        fake = centres + spread * noise.normal(size=(1000, 2)) * 0.6
        axis = np.linspace(-3, 3, 64)
        x, y = np.meshgrid(axis, axis)
        levels = 3 * np.exp(-4 * (np.hypot(x, y) - 2) ** 2) * progress - (1 - progress) * x
        arrays: dict[str, Any] = {"fake": fake.astype("f4"), "real": real.astype("f4"), "levels": levels.astype("f4")}
        np.savez(run / "samples" / f"{name}.npz", **arrays, extent=np.array([-3, 3, -3, 3], "f4"))
    real_part, imaginary = noise.normal(0.4 * quality, 0.5, 24), noise.normal(0, 3, 24)
    values = np.concatenate([real_part + 1j * imaginary, real_part - 1j * imaginary]) * (1.2 - progress)
    spectrum: dict[str, Any] = {"eigenvalues": values.astype("c8"), "learning_rate": np.array(0.2)}
    if regularised:
        spectrum["regularised"] = (values + 0.1 * np.abs(values) ** 2).astype("c8")
    np.savez(run / "spectra" / f"{name}.npz", **spectrum)


@pytest.fixture
def make_run() -> Callable[..., Path]:
    return fabricate


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods: one clearly best, two similar, one with a diverged seed and markup in every string."""
    folder = tmp_path_factory.mktemp("runs") / "ring & <b>grid"
    method = {"optimizer": {"name": "adam", "learning_rate": 2e-4, "betas": [0.5, 0.9]}}
    fabricate(folder / "alternating", quality=0.62, configuration={"method": method})
    fabricate(
        folder / "consensus",
        quality=0.98,
        cost=4,
        regularised=True,
        configuration={"method": {**method, "gamma": 10.0}},
    )
    fabricate(folder / "optimistic", quality=0.63, configuration={"method": {**method, "note": HOSTILE_NAME}})
    hostile_method = {**method, HOSTILE_NAME: HOSTILE_NAME}
    fabricate(
        folder / "simul<i>taneous & \"co'",
        quality=0.35,
        diverged={1: 1400},
        configuration={"method": hostile_method},
    )
    return folder
