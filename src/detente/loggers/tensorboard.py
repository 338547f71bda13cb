"""TensorBoard event files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detente.loggers.base import LoggedRun, Logger, Session


@dataclass(frozen=True)
class Tensorboard(Logger):
    """TensorBoard event files, by default in the folder `events` of the run directory.

    Args:
        folder: folder of the event files. Default: `events` in the run directory; without a run directory,
            TensorBoard's own, runs/DATE_HOST.

    Source: `torch.utils.tensorboard.SummaryWriter`.
    """

    package = "tensorboard"
    extra = "tensorboard"

    folder: str | None = None

    def open(self, run: LoggedRun) -> Session:
        from torch.utils.tensorboard import SummaryWriter  # imported here because it takes a second

        folder = self.folder or (None if run.directory is None else str(run.directory / "events"))
        # What an interrupted session logged after the last checkpoint is hidden.
        return _Events(SummaryWriter(folder, purge_step=0 if run.step is None else run.step + 1))


class _Events(Session):
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, number in values.items():
            self.writer.add_scalar(name, number, step)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self, finished: bool) -> None:
        self.writer.close()
