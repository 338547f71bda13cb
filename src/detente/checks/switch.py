"""Whether games are checked when they are built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VARIABLE = "DETENTE_CHECKS"  # "off" in the environment turns the checks off
_SUSPENDED: ContextVar[bool] = ContextVar("detente.checks suspended", default=False)


@contextmanager
def off() -> Iterator[None]:
    """Build games without checks of the set-up, in a `with` block."""
    token = _SUSPENDED.set(True)
    try:
        yield
    finally:
        _SUSPENDED.reset(token)


def are_on() -> bool:
    """Whether a game that is built is checked."""
    return not _SUSPENDED.get() and os.environ.get(VARIABLE, "").lower() not in ("off", "0", "no", "false")
