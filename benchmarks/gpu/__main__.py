"""Run all sections, or those named: `benchmarks/gpu.sh [names] [--device cuda] [--minutes 8]`.

Every section is a process of its own with a time limit, so that an error of one, even of the kind after which CUDA
serves a process no more, leaves the others alone. Checks run side by side; then what is timed, one after the other.
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

from benchmarks.gpu.findings import Findings, Section, described, read
from benchmarks.gpu.page import Outcome, write

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plan:
    """A section of the page.

    Args:
        title: of the section.
        where: module and function, as "module:function".
        limit: seconds, those of waiting for its turn not counted.
        timed: whether it measures time, so that it must have the machine to itself then.
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
    "measuring": Plan("Metrics, diagnostics and commands", "measuring:measuring", 240),
}
PREPARING = 240  # seconds for what comes before the timing, shared by all


def main() -> int:
    """Run the sections, and return 1 if a check does not hold or a section did not end."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same program, small")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which everything ends (default: 8)")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--findings", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--gate", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        code = run(options.section, Findings(options.device, options.findings, options.gate))
        sys.stdout.flush()
        os._exit(code)  # without waiting for processes that still compile
    for name in options.names:
        if name not in SECTIONS:
            parser.error(f"no section {name!r}; there are {', '.join(SECTIONS)}")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no GPU here; --device cpu tries the program without one")
    names = options.names or list(SECTIONS)
    folder = Path(os.environ["OUT"]) if os.environ.get("OUT") else ROOT / "runs" / "gpu"
    with tempfile.TemporaryDirectory() as working:
        return Conductor(names, options.device, options.minutes, folder, Path(working)).conduct()


def run(name: str, findings: Findings) -> int:
    """Carry out one section in this process, and return 1 if it ended with an error."""
    import importlib

    module, _, function = SECTIONS[name].where.partition(":")
    try:
        section: Section = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)
        section(findings)
    except Exception as error:
        traceback.print_exc()
        findings.add("the section as a whole", *described(error))
        return 1
    return 0


class Conductor:
    """Starts the sections, stops those that take too long, and writes the page again and again."""

    def __init__(self, names: list[str], device: str, minutes: float, folder: Path, working: Path) -> None:
        self.names, self.device, self.folder, self.working = names, device, folder, working
        self.began = time.monotonic()
        self.end = self.began + 60 * minutes
        self.outcomes = {name: Outcome(SECTIONS[name].title) for name in names}
        self.processes: dict[str, subprocess.Popen] = {}
        self.starts: dict[str, float] = {}
        self.about = about(device)

    def conduct(self) -> int:
        """Run everything, and return the exit status."""
        self.write()
        # On a processor one after the other, since all compete for its cores.
        gated = [name for name in self.names if SECTIONS[name].timed and self.device != "cpu"]
        others = [name for name in self.names if name not in gated]
        if self.device == "cpu":
            for name in others:
                self.start(name)
                self.wait([name], self.limited(4 * SECTIONS[name].limit))
        else:
            for name in [*gated, *others]:
                self.start(name)
            self.wait(others, self.limited(PREPARING), until_prepared=gated)
        for name in gated:
            self.gate(name).touch()
            self.wait([name], self.limited(SECTIONS[name].limit))
        self.about["took"] = f"{time.monotonic() - self.began:.0f} s"
        self.write()
        findings = [finding for outcome in self.outcomes.values() for finding in outcome.findings]
        print(summary(self.outcomes), flush=True)
        print(f"written: {self.folder / 'benchmarks-gpu.md'}", flush=True)
        whole = all(outcome.status == "done" for outcome in self.outcomes.values())
        return 0 if whole and all(finding.reached is not False for finding in findings) else 1

    def limited(self, seconds: float) -> float:
        """Return the moment at which something that may take so long has to end."""
        return min(self.end, time.monotonic() + seconds)

    def gate(self, name: str) -> Path:
        """Return the file that lets a timed section measure."""
        return self.working / f"{name}.gate"

    def start(self, name: str) -> None:
        """Start a section's process."""
        words = [sys.executable, "-m", "benchmarks.gpu", "--section", name, "--device", self.device]
        words += ["--findings", str(self.working / f"{name}.jsonl")]
        if SECTIONS[name].timed and self.device != "cpu":
            words += ["--gate", str(self.gate(name))]
        threads = {"OMP_NUM_THREADS": "1" if self.device == "cpu" else "2"}
        threads["TORCHINDUCTOR_COMPILE_THREADS"] = "4"
        environment = {**threads, **os.environ, "PYTHONUNBUFFERED": "1"}
        print(f"{name}: started after {time.monotonic() - self.began:.0f} s", flush=True)
        self.outcomes[name].status, self.starts[name] = "running", time.monotonic()
        self.processes[name] = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True)

    def wait(self, names: list[str], deadline: float, until_prepared: list[str] | None = None) -> None:
        """Wait until sections have ended and others are ready to measure; at the deadline, stop the former."""
        written = 0.0
        while time.monotonic() < deadline:
            for name in names:
                self.look(name)
            preparing = [name for name in until_prepared or () if not self.prepared(name)]
            if not preparing and all(self.outcomes[name].status != "running" for name in names):
                break
            if time.monotonic() - written > 5:
                self.write()
                written = time.monotonic()
            time.sleep(0.1)
        for name in names:
            self.stop(name)
        self.write()

    def prepared(self, name: str) -> bool:
        """Return whether a timed section waits for its turn, or has ended."""
        self.look(name)
        findings = self.outcomes[name].findings
        return self.outcomes[name].status != "running" or any(finding.what == "prepared" for finding in findings)

    def look(self, name: str) -> None:
        """Read what a section has written, and notice its end."""
        outcome = self.outcomes[name]
        if outcome.status != "running":
            return
        code = self.processes[name].poll()
        outcome.findings = read(self.working / f"{name}.jsonl")
        outcome.seconds = time.monotonic() - self.starts[name]
        if code is not None:
            outcome.status = "done" if code == 0 else f"ended with status {code}"
            outcome.findings = [one for one in outcome.findings if one.what != "prepared"]
            print(f"{name}: {outcome.status} after {outcome.seconds:.0f} s", flush=True)

    def stop(self, name: str) -> None:
        """End a section that is still running: it had its time."""
        self.look(name)
        if self.outcomes[name].status != "running":
            return
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()
        self.look(name)
        self.outcomes[name].status = f"stopped after {self.outcomes[name].seconds:.0f} s: out of time"
        print(f"{name}: {self.outcomes[name].status}", flush=True)

    def write(self) -> None:
        """Write page and file."""
        write(self.folder, self.about, self.outcomes)


def summary(outcomes: dict[str, Outcome]) -> str:
    """Return how each section ended, and what does not hold, a line each."""
    lines = ["", "Summary"]
    for name, outcome in outcomes.items():
        held = sum(finding.reached is True for finding in outcome.findings)
        missed = [finding for finding in outcome.findings if finding.reached is False]
        lines.append(f"{name}: {outcome.status}, {outcome.seconds:.0f} s; {held} checks hold, {len(missed)} do not")
        shown = [f for f in outcome.findings if f.reached is False or SECTIONS[name].timed]
        lines += [f"  {one.what}: {one.measured} {one.detail}"[:200] for one in shown[:30]]
    return "\n".join(lines)


def about(device: str) -> dict[str, str]:
    """Return what the page says of machine, versions and command."""
    import torch

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    told = {
        "device": "a processor: the program tried small, no result of a GPU",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"benchmarks/gpu.sh {shlex.join(sys.argv[1:])}".strip(),
        "processor": f"{name}, {os.cpu_count()} cores, {platform.platform()}",
        "versions": f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}",
        "détente": os.environ.get("DETENTE_REVISION") or _output("git", "rev-parse", "--short", "HEAD") or "unknown",
    }
    if device == "cuda":
        query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        told["device"] = _output("nvidia-smi", *query) or "a GPU that nvidia-smi does not name"
    return told


def _output(*words: str) -> str:
    try:
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
