"""Folders that only one of pytest-xdist's workers fills."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def filled_once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder that `fill` has filled, in this worker or, while this one waits, in another."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    complete = folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            folder.mkdir(exist_ok=True)
            fill(folder)
            complete.touch()
    return folder
