"""The base classes of executors, which run the tasks of a grid: in this process, in others, or on a cluster.

A task is a generator function at the top level of a module. It does its work piece by piece and yields in between;
when it is called again with the same item, it continues where it stopped. So an executor does not deal with
checkpoints: it calls unfinished tasks again.
"""

from __future__ import annotations

import importlib.util
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from detente.arguments import Typed
from detente.errors import InvalidValue

Task = Callable[[Any], Iterator[object]]
TRIES = 3  # maximum number of starts of a task whose process dies


@dataclass(frozen=True)
class Ended:
    """The end of a task.

    Args:
        key: the task's key.
        status: "done"; "stopped" before its end, so that calling it again continues it; or "failed".
        error: why it failed, in one line; empty otherwise.
    """

    key: str
    status: Literal["done", "stopped", "failed"] = "done"
    error: str = ""


class Session(ABC):
    """Running tasks. `capacity` is the number of tasks that can run at the same time."""

    capacity: int

    @abstractmethod
    def submit(self, key: str, task: Task, item: Any) -> None:
        """Start a task on an item.

        Args:
            key: name of the task, different from those in flight.
            task: generator function at the top level of a module.
            item: what the task works on.
        """

    @abstractmethod
    def wait(self, seconds: float) -> list[Ended]:
        """Return the tasks that have ended; wait for one for at most about this many seconds."""

    @abstractmethod
    def close(self) -> None:
        """Stop the running tasks, wait until each has saved its work, and release all resources."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Executor(Typed, ABC):
    """Where tasks are carried out.

    A concrete executor is a frozen dataclass of settings. `package` is the package that it imports when it is opened;
    `extra` is the extra with it. `elsewhere` tells whether tasks leave this process, so that their items must be
    pickled, and `several_machines` whether they may run on other machines, which share the output folder.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    elsewhere: ClassVar[bool] = True
    several_machines: ClassVar[bool] = False

    @abstractmethod
    def open(self, folder: Path) -> Session:
        """Return a session whose tasks write into a folder.

        Raises:
            InvalidValue: the executor's cluster or package cannot be used.
        """

    def check(self) -> None:
        """Raise `InvalidValue` if the package is not installed."""
        if self.package and importlib.util.find_spec(self.package) is None:
            name, allowed = type(self).__name__.lower(), f"an executor whose package {self.package} is installed"
            raise InvalidValue("executor", name, allowed, f'pip install "detente[{self.extra}]"')

    def pack(self, item: Any) -> bytes:
        """Return an item as bytes for another process; raises any exception if it cannot be pickled."""
        return pickle.dumps(item)


def carry_out(key: str, task: Task, item: Any, stops: Callable[[], bool] = lambda: False) -> Ended:
    """Run a task to its end, or until Ctrl-C or `stops`, and return how it ended."""
    pieces = task(item)
    try:
        for _ in pieces:
            if stops():
                return Ended(key, "stopped")
        return Ended(key)
    except KeyboardInterrupt:
        return Ended(key, "stopped")
    except Exception as error:  # a user's own classes may raise anything
        return Ended(key, "failed", in_one_line(error))
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()  # saves its work


def in_one_line(error: BaseException) -> str:
    """Return an error in one line."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, InvalidValue) else f"{type(error).__name__}: {text}"


def death_message(times: int) -> str:
    """Return the error of a task whose process died this many times."""
    return f"its process ended {times} times without an error message; it may have been killed, or the memory was full"
