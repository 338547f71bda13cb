"""A run of `detente train` on the device, stopped in the middle and resumed, beside the run left alone."""

from __future__ import annotations

import _thread
import json
import tempfile
import threading
import time
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from benchmarks.gpu.command import called
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import relative

# By title: the words of `detente train`, the steps, and the steps between two checkpoints.
Job = tuple[list[str], int, int]


def resume(findings: Findings) -> None:
    """The ring and DCGAN-28, eagerly and compiled: bits, or how far apart."""
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
            with findings.guarded(title):
                _compare(findings, title, job, Path(folder) / title.replace(" ", "-").replace(",", ""))


def _compare(findings: Findings, title: str, job: Job, folder: Path) -> None:
    words, steps, every = job
    ticks = [word for what in ("record", "measure", "checkpoint") for word in (f"--{what}_every", str(every))]
    common = ["train", *words, "--steps", str(steps), *ticks, "--samples", "256", "--device", findings.device.type]
    for name in ("whole", "again"):
        called([*common, "--out", str(folder / name)])
    stopped = folder / "stopped"
    code = _interrupted([*common, "--out", str(stopped)], stopped, 2)
    at = json.loads((stopped / "status.json").read_text(encoding="utf-8"))["seeds"]["0"]["step"]
    called(["resume", str(stopped)])
    whole, again, resumed = (_last(folder / name) for name in ("whole", "again", "stopped"))
    detail = f"stopped at step {at} of {steps}, exit status {code}; {_execution(folder / 'whole')}"
    for what, other in (("stopped and resumed", resumed), ("run twice", again)):
        different, distance = _differences(whole, other)
        measured = (
            "the same bits" if not different else f"{different} of {len(whole)} tensors differ, by {distance:.1e}"
        )
        findings.add(f"{title}: {what}", measured, "the same bits", not different, detail)
        detail = ""


def _interrupted(words: list[str], directory: Path, checkpoints: int) -> int:
    """Return the exit status of a command that is interrupted, as by Ctrl-C, once a run has so many checkpoints."""
    over = threading.Event()

    def watch() -> None:
        seen: set[str] = set()
        while not over.is_set():
            seen |= {path.name for path in (directory / "checkpoints").glob("step*.safetensors")}
            if len(seen) > checkpoints:  # the first is of step 0
                _thread.interrupt_main()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        return called(words, allowed=(0, 130))
    finally:
        over.set()
        thread.join()


def _last(directory: Path) -> dict[str, Tensor]:
    return load_file(sorted((directory / "checkpoints").glob("step*.safetensors"))[-1])


def _execution(directory: Path) -> str:
    return json.loads((directory / "status.json").read_text(encoding="utf-8"))["execution"]


def _differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> tuple[int, float]:
    """Return how many tensors are not the same bits, and the largest relative difference among them."""
    if expected.keys() != found.keys():
        raise RuntimeError(f"checkpoints of other tensors: {sorted(expected.keys() ^ found.keys())[:3]}")
    different = [name for name, tensor in expected.items() if not tensor.equal(found[name])]
    return len(different), max((relative(expected[name], found[name]) for name in different), default=0.0)
