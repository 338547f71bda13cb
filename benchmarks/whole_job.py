"""Wall clock of whole jobs, from the shell's prompt to the result on disk: imports, compiling, every step, writing.

Each job is a separate command. `cold` starts without compiled code, `warm` with that of an earlier run. JAX is
included if `make bench-peers` has made .peers. For the loops of the two longer jobs, the first steps of one seed are
timed and the rest is extrapolated, since all steps of a loop take equal time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.row import Row
from benchmarks.sizes import JOB_T, RING
from benchmarks.timing import ratio_of

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".peers" / "bin" / "python"
STEPS = 20_000
ADAM = "--method.optimizer adam --method.betas [0.5,0.999]"


@dataclass(frozen=True)
class Job:
    """A whole job.

    Args:
        title: description.
        options: those of `detente train`.
        seeds: number of seeds.
        loop_steps: steps of one seed that the loop takes; 0: all of all seeds.
        in_jax: whether there is a JAX script for it.
        rounds: how often it is timed.
    """

    title: str
    options: str
    seeds: int = 1
    loop_steps: int = 0
    in_jax: bool = True
    rounds: int = 1


JOBS = {
    "job_t": Job(
        "job T",
        f"--game benchmarks.job_t.game --method alternating {ADAM} --method.learning_rate {JOB_T['rate']}",
        rounds=3,
    ),
    "seeds": Job(
        "ten seeds of consensus on the ring",
        f"--game ring --method consensus {ADAM} --method.learning_rate {RING['rate']} --seeds 0 1 2 3 4 5 6 7 8 9",
        seeds=10,
        loop_steps=2_000,
    ),
    "sgan": Job(
        "SGAN with five pairs on the ring",
        f"--game ring --method sgan --method.pairs 5 --method.optimizer adam --method.learning_rate {RING['rate']}",
        loop_steps=500,
        in_jax=False,
    ),
}


def run(quick: bool) -> list[Row]:
    """Return the wall clock of each job in units of a JAX script's and of the hand-written loop's."""
    return [row for name, job in JOBS.items() for row in _rows(name, job, STEPS // 20 if quick else STEPS, quick)]


def _rows(name: str, job: Job, steps: int, quick: bool) -> list[Row]:
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 if quick else job.rounds):
            for kind, value in _seconds_of_each(name, job, steps, Path(folder) / f"{number}").items():
                seconds.setdefault(kind, []).append(value)
    detail = ", ".join(f"{kind} {statistics.median(values):.1f} s" for kind, values in seconds.items())
    rows = []
    for cache in ("cold", "warm"):
        for other, words, target in (("jax", "a JAX script's", 1.0), ("loop", "a hand-written loop's", 0.5)):
            if other in seconds:
                what = f"{job.title}, {steps:,} steps, {cache}: time in units of {words}"
                rows.append(Row.of(what, ratio_of(seconds[cache], seconds[other]), target=target, detail=detail))
    return rows


def _seconds_of_each(name: str, job: Job, steps: int, folder: Path) -> dict[str, float]:
    """Return the seconds of our command with and without compiled code, of the loop and of the JAX script."""
    environment = {kind: str(folder / kind) for kind in ("DETENTE_CACHE", "TMPDIR")}
    for path in environment.values():
        Path(path).mkdir(parents=True)
    command = [sys.executable, "-m", "detente", "train", *job.options.split(), "--steps", f"{steps}", "--threads", "1"]
    command += ["--record_every", f"{steps // 20}", "--measure_every", f"{steps}", "--compile", "on", "--no-checks"]
    scripts = "-m", "benchmarks.whole_job_scripts", name
    seconds = {kind: _run([*command, "--out", str(folder / kind)], environment)[0] for kind in ("cold", "warm")}

    taken = (min(job.loop_steps, steps), 1) if job.loop_steps else (steps, job.seeds)
    loop = [sys.executable, *scripts, *map(str, taken), "loop", str(folder / "loop.pt")]
    seconds["loop"], output = _run(loop, environment)
    seconds["loop"] += (steps * job.seeds - taken[0] * taken[1]) * float(output.split()[-1])
    if PEERS.exists() and job.in_jax:
        script = [str(PEERS), *scripts, f"{steps}", f"{job.seeds}", "jax", str(folder / "jax.npz")]
        seconds["jax"], _ = _run(script, environment)
    return seconds


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Return the seconds that a command takes, with one thread, and what it prints; RuntimeError if it fails."""
    one_thread = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    start = time.perf_counter()
    completed = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **one_thread, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if completed.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])} failed: {(completed.stderr or completed.stdout).strip()[-300:]}")
    return seconds, completed.stdout
