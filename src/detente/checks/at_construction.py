"""The checks that run whenever a GAN is built in Python; they warn about certain faults."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from detente.checks.base import inspect
from detente.checks.switch import VARIABLE, are_on
from detente.registry import members

SURE = 0.8  # less certain findings are reported by `detente train`, `diagnose` and `rescue` only
SAMPLES = 128  # maximum number of real samples
LARGEST = 500_000  # parameters of the largest networks that are called; larger ones would take too long
_OURS = str(Path(__file__).parents[1])


def warn_of_findings(game: Any) -> None:
    """Warn about certain faults of a GAN, at the line that builds it.

    `with detente.checks.off():` or DETENTE_CHECKS=off in the environment turns this off.
    """
    if not are_on():
        return
    large = sum(layout.size for layout in game.layouts.values()) > LARGEST
    checks: dict[str, Any] = members("checks")
    known = {name: kind for name, kind in checks.items() if kind.at_construction and not kind.of_method}
    kinds = [name for name, kind in known.items() if not (large and kind.calls_networks)]
    for finding in inspect(game, None, SAMPLES, kinds):
        if finding.certainty >= SURE:
            text = f"{finding} (turn off with detente.checks.off() or {VARIABLE}=off)"
            warnings.warn(text, stacklevel=_level())


def _level() -> int:
    """Return the number of frames from the caller to the first line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    return level
