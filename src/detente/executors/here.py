"""Tasks one after the other in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detente.executors.base import Ended, Executor, Session, Task, in_one_line


@dataclass(frozen=True)
class Here(Executor):
    """One task after the other, in this process."""

    elsewhere = False

    def open(self, folder: Path) -> Session:
        return _Session()


class _Session(Session):
    capacity = 1

    def __init__(self) -> None:
        self.tasks: deque[tuple[str, Iterator[object]]] = deque()

    def submit(self, key: str, task: Task, item: Any) -> None:
        self.tasks.append((key, iter(task(item))))

    def wait(self, seconds: float) -> list[Ended]:
        deadline = time.monotonic() + seconds
        while self.tasks:
            key, pieces = self.tasks[0]
            try:
                next(pieces)
            except StopIteration:
                self.tasks.popleft()
                return [Ended(key)]
            except Exception as error:  # a user's own classes may raise anything
                self.tasks.popleft()
                return [Ended(key, "failed", in_one_line(error))]
            if time.monotonic() > deadline:
                break
        return []

    def close(self) -> None:
        for _, pieces in self.tasks:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()  # saves its work
        self.tasks.clear()
