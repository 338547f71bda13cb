"""Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detente.errors import require
from detente.loggers.base import LoggedRun, Logger, Session

MODES = ("online", "offline", "disabled")


@dataclass(frozen=True)
class Wandb(Logger):
    """Weights & Biases: one of its runs for each run directory, with all seeds. A resumed run continues there.

    Environment variables such as WANDB_PROJECT, WANDB_MODE and WANDB_API_KEY work as in every program.

    Args:
        project: name of the project. Default: $WANDB_PROJECT, otherwise W&B's own default.
        entity: user or team. Default: the one that is logged in.
        name: name of the run. Default: the name of the run directory.
        group: group of runs, e.g. one comparison.
        tags: tags of the run.
        mode: "online", "offline" or "disabled". Default: $WANDB_MODE, otherwise "online".

    Source: wandb.init, Run.log (docs.wandb.ai).
    """

    package = "wandb"
    extra = "wandb"

    project: str | None = None
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    mode: str | None = None

    def __post_init__(self) -> None:
        require(self.mode in (None, *MODES), "mode", self.mode, f"None, or one of {', '.join(MODES)}")

    def open(self, run: LoggedRun) -> Session:
        wandb = importlib.import_module("wandb")
        settings = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group,
            "mode": self.mode,
            "dir": None if run.directory is None else str(run.directory),
            "id": run.identifier("wandb"),
        }
        session = wandb.init(
            name=self.name or run.name,
            tags=list(self.tags),
            config=dict(run.configuration),
            resume="allow",
            reinit="create_new",  # the caller's own W&B run stays as it is
            **{name: value for name, value in settings.items() if value is not None},
        )
        run.remember("wandb", session.id)
        return _WandbSession(session, wandb.Image)


class _WandbSession(Session):
    def __init__(self, run: Any, image: Any) -> None:
        self.run, self.image = run, image

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        self.run.log({name: self.image(pixels)}, step=step)

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)
