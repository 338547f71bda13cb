"""SIGTERM and SIGHUP stop a training as Ctrl-C does; ignored ones stay ignored; nothing is left installed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from detente.training.signals import Terminated, exit_status, ignore_signals, raise_on_termination


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_interrupts_and_the_handler_is_removed(name: str, status: int) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    try:
        with pytest.raises(KeyboardInterrupt) as interrupt:
            with raise_on_termination():
                os.kill(os.getpid(), number)
                threading.Event().wait(5)  # interrupted at once
        assert isinstance(interrupt.value, Terminated)
        assert exit_status(interrupt.value) == status
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_ctrl_c_has_its_usual_exit_status() -> None:
    assert exit_status(KeyboardInterrupt()) == 130


def test_signals_ignored_by_nohup_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raise_on_termination():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_not_interrupt_saving() -> None:
    with raise_on_termination(), ignore_signals():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            os.kill(os.getpid(), getattr(signal, name))


def test_other_threads_do_not_install_handlers() -> None:
    handlers: list[object] = []

    def look() -> None:
        with raise_on_termination():
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [before]
