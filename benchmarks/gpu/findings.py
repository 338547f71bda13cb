"""The findings of a section, written to a file one by one, so that a stopped section loses none."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Finding:
    """One line of the page.

    Args:
        what: name of the check or measurement.
        measured: the result, as text or numbers.
        target: the required result, if there is one.
        reached: whether the target is reached; None without a target.
        detail: absolute numbers, and notes on the result.
    """

    what: str
    measured: str
    target: str = ""
    reached: bool | None = None
    detail: str = ""


class Findings:
    """Collects the findings of a section.

    Args:
        device: "cuda" or "cpu"; on a CPU all games are small, to test the program.
        path: the output file, with one JSON object per line.
        gate: a file that appears when nothing else is running on the machine.
    """

    def __init__(self, device: str, path: Path, gate: Path | None = None) -> None:
        self.device, self.path, self.gate = torch.device(device), path, gate
        self.gpu = self.device.type == "cuda"

    def add(self, what: str, measured: str, target: str = "", reached: bool | None = None, detail: str = "") -> None:
        """Write and print one finding."""
        finding = Finding(what, measured, target, reached, detail)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")
        verdict = {True: "ok", False: "MISSED", None: ""}[reached]
        print(f"  {what}: {measured}  {verdict}  {detail}"[:220], flush=True)

    def add_difference(self, what: str, value: float, tolerance: float, detail: str = "") -> None:
        """Add a relative difference with the largest value that rounding explains."""
        self.add(what, f"{value:.1e}", f"at most {tolerance:.0e}", value <= tolerance, detail)

    @contextmanager
    def catch_errors(self, what: str) -> Iterator[None]:
        """Turn an error in the block into a finding, so that the section continues."""
        try:
            yield
        except Exception as error:
            self.add(what, *describe_error(error))

    def synchronize(self) -> None:
        """Wait for the device's work."""
        if self.gpu:
            torch.cuda.synchronize()


def describe_error(error: Exception) -> tuple[str, str, bool, str]:
    """Return the result, target, verdict and detail of a finding for an error; the detail is the innermost frames."""
    message = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    location = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__}: {message}", "no error", False, location


Section = Callable[[Findings], None]


def read(path: Path) -> list[Finding]:
    """Return the findings in a file, without a last line that is incomplete."""
    findings = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            findings.append(Finding(**json.loads(line)))
        except ValueError:
            continue
    return findings
