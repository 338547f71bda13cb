"""A polite request to end (SIGTERM, SIGHUP) does what Ctrl-C does: training stops, and what was trained is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")  # SIGHUP exists on POSIX systems only


class Terminated(KeyboardInterrupt):
    """Another process, or the terminal's end, asked this one to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status of an interrupted command, 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated` within, as Ctrl-C raises `KeyboardInterrupt`.

    Only in the main thread, where Python allows it. A signal that is ignored (SIGHUP under `nohup`) stays ignored.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise Terminated(number)

    with _handled(stop, [getattr(signal, name) for name in NAMES if hasattr(signal, name)]):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that ask to stop are ignored within: for saving, after the first of them."""
    numbers = [getattr(signal, name) for name in ("SIGINT", *NAMES) if hasattr(signal, name)]
    with _handled(signal.SIG_IGN, numbers):
        yield


@contextmanager
def _handled(handler: object, numbers: list[int]) -> Iterator[None]:
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                present = signal.getsignal(number)
                if present is not None and present != signal.SIG_IGN:  # None: a handler that is not Python's
                    before[number] = present
                    signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
