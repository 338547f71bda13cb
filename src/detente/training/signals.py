"""SIGTERM and SIGHUP act like Ctrl-C: training stops and its progress is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from detente.deprecated import lookup

NAMES = ("SIGTERM", "SIGHUP")  # SIGHUP exists on POSIX systems only


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    def __reduce__(self) -> tuple[type[Terminated], tuple[int]]:
        return Terminated, (self.number,)


class Noted:
    """The first signal that was received and not acted on yet.

    Attributes:
        number: number of the signal; 0 if there is none.
    """

    def __init__(self) -> None:
        self.number, self._raises = 0, False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, as a handler of it."""
        del frame
        self.number = self.number or number
        if self._raises:
            raise interrupt_of(number)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise noted signals and new ones inside the context, e.g. in work that other processes wait for."""
        self._raises = True
        try:
            if self.number:
                raise interrupt_of(self.number)
            yield
        finally:
            self._raises = False


def interrupt_of(number: int) -> KeyboardInterrupt:
    """Return the exception that a signal raises."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)


@contextmanager
def note_signals() -> Iterator[Noted]:
    """Note SIGINT, SIGTERM and SIGHUP inside the context instead of raising them, to stop at a step of choice.

    A context inside another yields the same object.
    """
    if _NOTED:
        yield _NOTED[0]
        return
    _NOTED.append(noted := Noted())
    try:
        with _with_handler(noted.receive, _numbers()):
            yield noted
    finally:
        _NOTED.clear()


_NOTED: list[Noted] = []


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status of an interrupted command, 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def raise_on_termination() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Terminated` inside the context, as Ctrl-C raises `KeyboardInterrupt`.

    This works in the main thread only, as Python requires. An ignored signal (SIGHUP under `nohup`) stays ignored.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise Terminated(number)

    with _with_handler(stop, [getattr(signal, name) for name in NAMES if hasattr(signal, name)]):
        yield


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore SIGINT, SIGTERM and SIGHUP inside the context, e.g. while saving after the first of them."""
    with _with_handler(signal.SIG_IGN, _numbers()):
        yield


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in ("SIGINT", *NAMES) if hasattr(signal, name)]


@contextmanager
def _with_handler(handler: object, numbers: list[int]) -> Iterator[None]:
    previous_handlers = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                previous = signal.getsignal(number)
                if previous is not None and previous != signal.SIG_IGN:  # None: a handler not set from Python
                    previous_handlers[number] = previous
                    signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        yield
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)


__getattr__ = lookup(__name__)
