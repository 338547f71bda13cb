"""Seeds torch before each test, and marks the tests of slow.txt as slow.

`make test-fast` leaves the slow ones out. The list holds the test functions that take over `LIMIT` seconds in all their
cases together; `make test RECORD=1` writes it again, best on an idle machine.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
import torch

LIST = Path(__file__).with_name("slow.txt")
LIMIT = 0.06  # seconds


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let no test depend on which ones came before it: networks draw their first weights from torch's generator."""
    torch.manual_seed(0)


def function_of(nodeid: str) -> str:
    """Return the node id without the case's parameters."""
    return nodeid.partition("[")[0]


def pytest_configure() -> None:
    """Let Ctrl-C reach the tests' programs where it is ignored, as in jobs that a shell starts in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-slow", action="store_true", help="write tests/slow.txt from the durations of this run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = set(LIST.read_text(encoding="utf-8").split())
    for item in items:
        if function_of(item.nodeid) in slow:
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not terminalreporter.config.getoption("--record-slow"):
        return
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[function_of(report.nodeid)] += report.duration  # type: ignore[assignment]
    slow = sorted(function for function, total in seconds.items() if total > LIMIT)
    LIST.write_text("".join(f"{function}\n" for function in slow), encoding="utf-8")
