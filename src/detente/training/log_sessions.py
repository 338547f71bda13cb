"""Send the ticks of a run to its loggers; a logger that fails is dropped and never ends the run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from detente.loggers.base import LoggedRun, Logger, Session
from detente.loggers.tensorboard import Tensorboard
from detente.registry import name_of
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.run_directory.snapshot import write_snapshot

if TYPE_CHECKING:
    from detente.training.loop import Tick

Result = TypeVar("Result")


def loggers_of(run: Run) -> tuple[Logger, ...]:
    """Return the loggers of a run with a directory: by default TensorBoard, if it is installed.

    Raises:
        InvalidValue: the package of a logger of the run is not installed.
    """
    if run.loggers is None:
        default = Tensorboard()
        return (default,) if default.is_installed() else ()
    for logger in run.loggers:
        logger.check()
    return tuple(run.loggers)


class LogSessions:
    """The open sessions of several loggers. A session that raises an error is dropped with one warning.

    Args:
        loggers: the loggers.
        run: the run that is logged.
    """

    def __init__(self, loggers: Iterable[Logger], run: LoggedRun) -> None:
        self._sessions: list[tuple[str, Session]] = []
        for logger in loggers:
            name = name_of(type(logger))
            session = _attempt(name, _opened, logger, run)
            if session is not None:
                self._sessions.append((name, session))

    def numbers(self, seed: int, step: int, groups: Mapping[str, Mapping[str, float | None]]) -> None:
        """Log the finite numbers of one seed; `groups` are those of `numbers_of`."""
        values = {
            f"{group}/{name}/seed{seed}": number
            for group, named in groups.items()
            for name, number in named.items()
            if number is not None
        }
        if values:
            self._each(lambda session: session.numbers(step, dict(values)))

    def picture(self, seed: int, step: int, name: str, path: Path) -> None:
        """Log a picture file of one seed; a file that is no picture is ignored."""
        if path.suffix == ".png" and self._sessions:
            with Image.open(path) as picture:
                pixels = np.atleast_3d(np.asarray(picture))
            self._each(lambda session: session.picture(step, f"{name}/seed{seed}", pixels.copy()))

    def close(self, finished: bool) -> None:
        """Close all sessions; `finished` is false if the run was interrupted."""
        self._each(lambda session: session.close(finished))
        self._sessions = []

    def _each(self, use: Callable[[Session], None]) -> None:
        def works(name: str, session: Session) -> bool:
            return _attempt(name, lambda: use(session) or True) is not None

        self._sessions = [entry for entry in self._sessions if works(*entry)]


def _opened(logger: Logger, run: LoggedRun) -> Session:
    session: object = logger.open(run)
    if not isinstance(session, Session):
        raise TypeError(f"open returned {type(session).__name__}, not a Session")
    return session


def _attempt(name: str, function: Callable[..., Result], *arguments: Any) -> Result | None:
    """Return the result of a function, or None after a warning if it fails."""
    try:
        return function(*arguments)
    except Exception as error:  # a service may raise anything; training must continue
        reason = " ".join(str(error).split())[:200]
        text = f"logger {name} stopped, training continues: {type(error).__name__}{f': {reason}' if reason else ''}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None


def log_ticks(ticks: Iterator[Tick], run: Run, loggers: Sequence[Logger], first_step: int | None) -> Iterator[Tick]:
    """Log and yield each tick of a run without a directory.

    Args:
        ticks: the ticks of the run.
        run: the run.
        loggers: the loggers.
        first_step: step from which the run is continued; None for a new run.

    Raises:
        InvalidValue: the package of a logger is not installed.
    """
    for logger in loggers:
        logger.check()
    name = f"{type(run.game).__name__}-{type(run.method.field).__name__}".lower()
    sessions, finished = LogSessions(loggers, LoggedRun(name, step=first_step)), False
    try:
        for tick in ticks:
            for progress in tick.progress:
                sessions.numbers(progress.seed, tick.step, numbers_of(tick, progress.seed))
                if progress.seed in tick.metrics:
                    _log_pictures(sessions, run, progress, tick.step)
            yield tick
        finished = True
    finally:
        sessions.close(finished)


def _log_pictures(sessions: LogSessions, run: Run, progress: Progress, step: int) -> None:
    state = run.method.scheme.eval_state(progress.state)
    with TemporaryDirectory() as folder:
        for name, path in write_snapshot(run.game, state, Path(folder), progress.seed, step).items():
            sessions.picture(progress.seed, step, name, path)


def numbers_of(tick: Tick, seed: int) -> dict[str, dict[str, float | None]]:
    """Return the numbers of one seed in a tick by group and name; None for a number that is not finite.

    The groups are `losses`, `gradient_norm`, `extra`, `terms` (named player.term) and `metrics`, if there are any.
    """
    values: dict[str, dict[str, Any]] = {}
    if (info := tick.infos.get(seed)) is not None:
        values = {"losses": info.losses, "gradient_norm": info.gradient_norm, "extra": info.extra}
        named = {f"{player}.{name}": term for player, terms in info.terms.items() for name, term in terms.items()}
        values = {name: group for name, group in {**values, "terms": named}.items() if group or name == "losses"}
    if seed in tick.metrics:
        values["metrics"] = tick.metrics[seed]
    return {group: {name: _number(value) for name, value in named.items()} for group, named in values.items()}


def _number(value: Tensor | float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
