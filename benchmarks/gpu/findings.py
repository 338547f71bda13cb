"""The findings of a section: written to a file one by one, so that a section that is stopped loses none."""

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
        what: was checked or measured.
        measured: the result, in words or numbers.
        target: what it should be, if anything was promised.
        reached: whether it is; None where nothing was promised.
        detail: absolute numbers, and anything that qualifies the result.
    """

    what: str
    measured: str
    target: str = ""
    reached: bool | None = None
    detail: str = ""


class Findings:
    """Where a section puts its findings.

    Args:
        device: "cuda" or "cpu"; on a processor everything is done small, to try the program.
        path: the file, one JSON object a line.
        gate: a file whose existence says that nothing else runs on the machine any more.
    """

    def __init__(self, device: str, path: Path, gate: Path | None = None) -> None:
        self.device, self.path, self.gate = torch.device(device), path, gate
        self.gpu = self.device.type == "cuda"

    def add(self, what: str, measured: str, target: str = "", reached: bool | None = None, detail: str = "") -> None:
        """Write one finding down, and show it at once."""
        finding = Finding(what, measured, target, reached, detail)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")
        verdict = {True: "ok", False: "MISSED", None: ""}[reached]
        print(f"  {what}: {measured}  {verdict}  {detail}"[:220], flush=True)

    def difference(self, what: str, found: float, most: float, detail: str = "") -> None:
        """Write down a relative difference beside the largest that rounding explains."""
        self.add(what, f"{found:.1e}", f"at most {most:.0e}", found <= most, detail)

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """An error within is a finding, and the section goes on."""
        try:
            yield
        except Exception as error:
            self.add(what, *described(error))

    def synchronize(self) -> None:
        """Wait for the device's work."""
        if self.gpu:
            torch.cuda.synchronize()


def described(error: Exception) -> tuple[str, str, bool, str]:
    """Return an error as a finding's result, target, verdict and detail: where it came from."""
    message = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__}: {message}", "no error", False, where


Section = Callable[[Findings], None]


def read(path: Path) -> list[Finding]:
    """Return the findings in a file; a last line cut short by a stop is left out."""
    findings = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            findings.append(Finding(**json.loads(line)))
        except ValueError:
            continue
    return findings
