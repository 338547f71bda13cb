"""Errors about the user's input, in one line: the field, the value, what is allowed, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InvalidValue(ValueError):
    """Raised for an invalid value; the message is ``field: got value; allowed: …``.

    Args:
        field: name of the field, as the user wrote it.
        value: the invalid value.
        allowed: description of the allowed values.
        hint: how to fix the error (optional).
    """

    def __init__(self, field: str, value: object, allowed: str, hint: str = "") -> None:
        self.field, self.value, self.allowed, self.hint = field, value, allowed, hint
        shown = repr(value)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        super().__init__(f"{field}: got {shown}; allowed: {allowed}" + (f". {hint}" if hint else ""))


def require(condition: bool, field: str, value: object, allowed: str, hint: str = "") -> None:
    """Raise `InvalidValue` unless `condition` holds."""
    if not condition:
        raise InvalidValue(field, value, allowed, hint)


def unknown(field: str, name: str, allowed: Iterable[str]) -> InvalidValue:
    """Return the error for an unknown name, which suggests the nearest valid one."""
    names = sorted(allowed)
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    return InvalidValue(field, name, ", ".join(names), f"Did you mean {nearest[0]!r}?" if nearest else "")
