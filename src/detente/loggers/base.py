"""The base classes of loggers, which send the numbers and pictures of a run to a tracking service or to files."""

from __future__ import annotations

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from detente.arguments import Typed
from detente.errors import InvalidValue

IDENTIFIERS = "loggers.json"  # in a run directory: identifiers of the run at each service


@dataclass(frozen=True)
class LoggedRun:
    """A run, as described to a logger.

    Args:
        name: name of the run.
        directory: its run directory, or None if no files are written.
        configuration: content of its `run.yaml`, as nested mappings.
        step: number of steps that an earlier session has logged; None if the run is new.
    """

    name: str
    directory: Path | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None

    def identifier(self, service: str) -> str | None:
        """Return the identifier that `remember` stored for a service; None for a new run."""
        if self.directory is None or self.step is None:
            return None
        return self._identifiers().get(service)

    def remember(self, service: str, identifier: str) -> None:
        """Store the identifier of the run at a service, so that a resumed run continues there."""
        if self.directory is not None:
            identifiers = {**self._identifiers(), service: identifier}
            (self.directory / IDENTIFIERS).write_text(json.dumps(identifiers), encoding="utf-8")

    def _identifiers(self) -> dict[str, str]:
        assert self.directory is not None
        try:
            return json.loads((self.directory / IDENTIFIERS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}


class Session(ABC):
    """An open connection of a logger. Its methods may raise any `Exception`; then only the session ends."""

    @abstractmethod
    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of one seed at a step.

        Args:
            step: number of steps taken. Several seeds have the same step; it never decreases.
            values: finite numbers by name, e.g. `losses/generator/seed0`. The groups are `losses`, `gradient_norm`,
                `terms` (`terms/PLAYER.TERM/seed0`), `extra` and `metrics`.
        """

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:  # noqa: B027 (optional)
        """Log a picture at a step; ignored by default.

        Args:
            step: number of steps taken.
            name: name of the picture, e.g. `samples/seed0`.
            pixels: uint8, (height, width, channels) with 1 or 3 channels.
        """

    def close(self, finished: bool) -> None:  # noqa: B027 (optional)
        """End the session; `finished` is false if the run was interrupted. Does nothing by default."""


class Logger(Typed, ABC):
    """Settings of a tracking service to which a run sends its numbers and pictures.

    A concrete logger is a frozen dataclass. It never changes a run: it receives copies, and if it fails, it is dropped
    with one warning. `package` is the package that it imports when a run starts; `extra` is the extra with it.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    @abstractmethod
    def open(self, run: LoggedRun) -> Session:
        """Return an open session for a run."""

    def is_installed(self) -> bool:
        """Return whether the package can be imported; it is not imported."""
        try:
            return not self.package or importlib.util.find_spec(self.package) is not None
        except (ImportError, ValueError):
            return False

    def check(self) -> None:
        """Raise `InvalidValue` if the package is not installed."""
        if not self.is_installed():
            hint = f'pip install "detente[{self.extra}]"' if self.extra else f"pip install {self.package}"
            raise InvalidValue(
                "loggers", type(self).__name__, f"a logger whose package {self.package} is installed", hint
            )
