"""Run all sections, or the named ones: `benchmarks/gpu.sh [names] [--device cuda] [--minutes 8]`.

Every section runs in its own process with a time limit, so that an error in one, even one that makes CUDA unusable in
its process, does not affect the others. Checks run at the same time; then the timed sections run one after the other.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.findings import Findings, Section, describe_error, read
from benchmarks.gpu.page import Outcome, write

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plan:
    """A section of the page.

    Args:
        title: title of the section.
        where: module and function, as "module:function".
        limit: time limit in seconds, without the time of waiting for its turn.
        timed: whether it measures time and therefore needs the machine to itself.
    """

    title: str
    where: str
    limit: float
    timed: bool = False


SECTIONS = {
    "speed-dcgan64": Plan("Speed: DCGAN for 64 × 64 pixels, Adam", "speed:dcgan64", 90, timed=True),
    "speed-ring": Plan("Speed: the ring, MLPs of width 128, alternating Adam", "speed:ring", 60, timed=True),
    "methods": Plan("Every method, float64, against the processor", "agreement:every_method", 240),
    "networks": Plan("Layers, penalties and filters, float64, against the processor", "agreement:networks", 240),
    "compiled": Plan("Compiled steps against eager ones", "compiled:compiled_steps", 240),
    "precision": Plan("bfloat16, channels-last images, batches in parts", "precision:cheaper_arithmetic", 240),
    "memory": Plan("Memory", "memory:memory", 240),
    "resume": Plan("Runs stopped and resumed (`detente train`)", "resume:resume", 240),
    "ranks": Plan("Several processes (torchrun)", "ranks:several_processes", 240),
    "measuring": Plan("Metrics, diagnostics and commands", "measuring:measuring", 240),
}
PREPARING = 240  # seconds for all checks and for compiling before the timing


def main() -> int:
    """Run the sections, and return 1 if a check fails or a section does not finish."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"sections: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same program with small games"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit for everything (default: 8)")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--findings", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--gate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.section:
        exit_code = run(arguments.section, Findings(arguments.device, arguments.findings, arguments.gate))
        sys.stdout.flush()
        os._exit(exit_code)  # do not wait for processes that still compile
    for name in arguments.names:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; choose from {', '.join(SECTIONS)}")
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device cuda: torch {torch.__version__} finds no GPU; use --device cpu to test the program")
    names = arguments.names or list(SECTIONS)
    folder = Path(os.environ["OUT"]) if os.environ.get("OUT") else ROOT / "runs" / "gpu"
    with tempfile.TemporaryDirectory() as working:
        return Conductor(names, arguments.device, arguments.minutes, folder, Path(working)).conduct()


def run(name: str, findings: Findings) -> int:
    """Run one section in this process, and return 1 if it raises an error."""
    import importlib

    module, _, function = SECTIONS[name].where.partition(":")
    try:
        section: Section = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)
        section(findings)
    except Exception as error:
        traceback.print_exc()
        findings.add("the section as a whole", *describe_error(error))
        return 1
    return 0


class Conductor:
    """Starts the sections, stops those that take too long, and updates the page meanwhile."""

    def __init__(self, names: list[str], device: str, minutes: float, folder: Path, working: Path) -> None:
        self.names, self.device, self.folder, self.working = names, device, folder, working
        self.start_time = time.monotonic()
        self.end = self.start_time + 60 * minutes
        self.outcomes = {name: Outcome(SECTIONS[name].title) for name in names}
        self.processes: dict[str, subprocess.Popen] = {}
        self.starts: dict[str, float] = {}
        self.about = describe_environment(device)

    def conduct(self) -> int:
        """Run all sections, and return the exit status."""
        self.write()
        # On a CPU one after the other, because all sections compete for its cores.
        timed = [name for name in self.names if SECTIONS[name].timed and self.device != "cpu"]
        others = [name for name in self.names if name not in timed]
        if self.device == "cpu":
            for name in others:
                self.start(name)
                self.wait([name], self.deadline_after(4 * SECTIONS[name].limit))
        else:
            for name in [*timed, *others]:
                self.start(name)
            self.wait(others, self.deadline_after(PREPARING), until_prepared=timed)
        for name in timed:
            self.gate(name).touch()
            self.wait([name], self.deadline_after(SECTIONS[name].limit))
        self.about["took"] = f"{time.monotonic() - self.start_time:.0f} s"
        self.write()
        findings = [finding for outcome in self.outcomes.values() for finding in outcome.findings]
        print(summary(self.outcomes), flush=True)
        print(f"written: {self.folder / 'benchmarks-gpu.md'}", flush=True)
        all_done = all(outcome.status == "done" for outcome in self.outcomes.values())
        return 0 if all_done and all(finding.reached is not False for finding in findings) else 1

    def deadline_after(self, seconds: float) -> float:
        """Return the time at which something that starts now and may take some seconds must end."""
        return min(self.end, time.monotonic() + seconds)

    def gate(self, name: str) -> Path:
        """Return the file that tells a timed section to measure."""
        return self.working / f"{name}.gate"

    def start(self, name: str) -> None:
        """Start a section's process."""
        command = [sys.executable, "-m", "benchmarks.gpu", "--section", name, "--device", self.device]
        command += ["--findings", str(self.working / f"{name}.jsonl")]
        if SECTIONS[name].timed and self.device != "cpu":
            command += ["--gate", str(self.gate(name))]
        threads = {"OMP_NUM_THREADS": "1" if self.device == "cpu" else "2"}
        threads["TORCHINDUCTOR_COMPILE_THREADS"] = "4"
        environment = {**threads, **os.environ, "PYTHONUNBUFFERED": "1"}
        print(f"{name}: started after {time.monotonic() - self.start_time:.0f} s", flush=True)
        self.outcomes[name].status, self.starts[name] = "running", time.monotonic()
        self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)

    def wait(self, names: list[str], deadline: float, until_prepared: list[str] | None = None) -> None:
        """Wait until sections have ended and others are ready to measure; stop the former at the deadline."""
        last_written = 0.0
        while time.monotonic() < deadline:
            for name in names:
                self.update(name)
            unprepared = [name for name in until_prepared or () if not self.is_prepared(name)]
            if not unprepared and all(self.outcomes[name].status != "running" for name in names):
                break
            if time.monotonic() - last_written > 5:
                self.write()
                last_written = time.monotonic()
            time.sleep(0.1)
        for name in names:
            self.stop(name)
        self.write()

    def is_prepared(self, name: str) -> bool:
        """Return whether a timed section is waiting for its turn or has ended."""
        self.update(name)
        findings = self.outcomes[name].findings
        return self.outcomes[name].status != "running" or any(finding.what == "prepared" for finding in findings)

    def update(self, name: str) -> None:
        """Read the findings of a section, and update its status."""
        outcome = self.outcomes[name]
        if outcome.status != "running":
            return
        exit_code = self.processes[name].poll()
        outcome.findings = read(self.working / f"{name}.jsonl")
        outcome.seconds = time.monotonic() - self.starts[name]
        if exit_code is not None:
            outcome.status = "done" if exit_code == 0 else f"ended with status {exit_code}"
            outcome.findings = [finding for finding in outcome.findings if finding.what != "prepared"]
            print(f"{name}: {outcome.status} after {outcome.seconds:.0f} s", flush=True)

    def stop(self, name: str) -> None:
        """Kill a section that is still running at its time limit."""
        self.update(name)
        if self.outcomes[name].status != "running":
            return
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()
        self.update(name)
        self.outcomes[name].status = f"stopped after {self.outcomes[name].seconds:.0f} s: out of time"
        print(f"{name}: {self.outcomes[name].status}", flush=True)

    def write(self) -> None:
        """Write the page and the JSON file."""
        write(self.folder, self.about, self.outcomes)


def summary(outcomes: dict[str, Outcome]) -> str:
    """Return a line per section with its status, and a line per failed check."""
    lines = ["", "Summary"]
    for name, outcome in outcomes.items():
        passed = sum(finding.reached is True for finding in outcome.findings)
        failed = [finding for finding in outcome.findings if finding.reached is False]
        lines.append(f"{name}: {outcome.status}, {outcome.seconds:.0f} s; {passed} checks hold, {len(failed)} do not")
        selected = [finding for finding in outcome.findings if finding.reached is False or SECTIONS[name].timed]
        lines += [f"  {finding.what}: {finding.measured} {finding.detail}"[:200] for finding in selected[:30]]
    return "\n".join(lines)


def describe_environment(device: str) -> dict[str, str]:
    """Return the page's information on machine, versions and command."""
    import torch

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    description = {
        "device": "a processor: the program tried small, no result of a GPU",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"benchmarks/gpu.sh {shlex.join(sys.argv[1:])}".strip(),
        "processor": f"{name}, {os.cpu_count()} cores, {platform.platform()}",
        "versions": f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}",
        "détente": os.environ.get("DETENTE_REVISION") or _output("git", "rev-parse", "--short", "HEAD") or "unknown",
    }
    if device == "cuda":
        query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        description["device"] = _output("nvidia-smi", *query) or "a GPU that nvidia-smi does not name"
    return description


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
