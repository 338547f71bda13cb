"""Runs of `detente train` on the device that are stopped and resumed, compared with uninterrupted ones."""

from __future__ import annotations

import _thread
import json
import tempfile
import threading
import time
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from benchmarks.gpu.command import run_command
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import relative_difference

# Options of `detente train`, number of steps, and steps between checkpoints.
Job = tuple[list[str], int, int]


def resume(findings: Findings) -> None:
    """Compare stopped and resumed runs of the ring and DCGAN-28, eager and compiled, with uninterrupted ones."""
    steps = 600 if findings.gpu else 40
    ring = ["--game", "ring", "--method", "consensus"]
    digits = ["--game", "digits", "--game.width", "32" if findings.gpu else "4", "--method", "alternating"]
    jobs: dict[str, Job] = {
        "ring, consensus": (ring, steps, steps // 6),
        "ring, svrg": (["--game", "ring", "--game.points", "2048", "--method", "svrg"], steps, steps // 6),
        "DCGAN-28 on digits, alternating": (digits, steps // 4, steps // 20),
        "DCGAN-28 on digits, alternating, bfloat16": ([*digits, "--precision", "bfloat16"], steps // 4, steps // 20),
    }
    if findings.gpu:
        compiled = ["--game", "ring", "--method", "alternating", "--compile", "on"]
        jobs["ring, alternating, compiled"] = (compiled, 2000, 400)
    with tempfile.TemporaryDirectory() as folder:
        for title, job in jobs.items():
            with findings.catch_errors(title):
                _compare(findings, title, job, Path(folder) / title.replace(" ", "-").replace(",", ""))


def _compare(findings: Findings, title: str, job: Job, folder: Path) -> None:
    options, steps, interval = job
    command = ["train", *options, "--steps", str(steps), "--samples", "256", "--device", findings.device.type]
    for event in ("record", "measure", "checkpoint"):
        command += [f"--{event}_every", str(interval)]
    for name in ("whole", "again"):
        run_command([*command, "--out", str(folder / name)])
    stopped = folder / "stopped"
    exit_status = _run_interrupted([*command, "--out", str(stopped)], stopped, 2)
    stopped_step = json.loads((stopped / "status.json").read_text(encoding="utf-8"))["seeds"]["0"]["step"]
    run_command(["resume", str(stopped)])
    first, second, resumed = (_last_checkpoint(folder / name) for name in ("whole", "again", "stopped"))
    execution = _read_execution(folder / "whole")
    detail = f"stopped at step {stopped_step} of {steps}, exit status {exit_status}; {execution}"
    for case, tensors in (("stopped and resumed", resumed), ("run twice", second)):
        different, distance = _differences(first, tensors)
        measured = f"{different} of {len(first)} tensors differ, by {distance:.1e}" if different else "the same bits"
        findings.add(f"{title}: {case}", measured, "the same bits", not different, detail)
        detail = ""


def _run_interrupted(options: list[str], directory: Path, checkpoints: int) -> int:
    """Run a command, interrupt it like Ctrl-C after some checkpoints, and return its exit status."""
    finished = threading.Event()

    def watch() -> None:
        checkpoint_names: set[str] = set()
        while not finished.is_set():
            checkpoint_names |= {path.name for path in (directory / "checkpoints").glob("step*.safetensors")}
            if len(checkpoint_names) > checkpoints:  # the first one is of step 0
                _thread.interrupt_main()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        return run_command(options, allowed=(0, 130))
    finally:
        finished.set()
        thread.join()


def _last_checkpoint(directory: Path) -> dict[str, Tensor]:
    return load_file(sorted((directory / "checkpoints").glob("step*.safetensors"))[-1])


def _read_execution(directory: Path) -> str:
    return json.loads((directory / "status.json").read_text(encoding="utf-8"))["execution"]


def _differences(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> tuple[int, float]:
    """Return how many tensors differ in any bit, and their largest relative difference."""
    if expected.keys() != actual.keys():
        raise RuntimeError(f"checkpoints of other tensors: {sorted(expected.keys() ^ actual.keys())[:3]}")
    different = [name for name, tensor in expected.items() if not tensor.equal(actual[name])]
    return len(different), max((relative_difference(expected[name], actual[name]) for name in different), default=0.0)
