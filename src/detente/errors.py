"""Errors about the user's input, in one line: the field, the value, what is allowed, and the nearest valid name."""

from __future__ import annotations

import difflib
import linecache
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path


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
        shown = " ".join(repr(value).split())
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        super().__init__(f"{field}: got {shown}; allowed: {allowed}" + (f". {hint}" if hint else ""))

    def __reduce__(self) -> tuple[type[InvalidValue], tuple[object, ...]]:
        return InvalidValue, (self.field, self.value, self.allowed, self.hint)


class Unquoted(str):
    """A text that an error shows in place of a value, without quotation marks."""

    __repr__ = str.__str__


class RankError(RuntimeError):
    """Raised when processes cannot continue together: one was lost, never started, or differs from the others."""


def require(condition: bool, field: str, value: object, allowed: str, hint: str = "") -> None:
    """Raise `InvalidValue` unless `condition` holds."""
    if not condition:
        raise InvalidValue(field, value, allowed, hint)


def unknown(field: str, name: str, allowed: Iterable[str]) -> InvalidValue:
    """Return the error for an unknown name, which suggests the nearest valid one."""
    names = sorted(allowed)
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    return InvalidValue(field, name, ", ".join(names), f"Did you mean {nearest[0]!r}?" if nearest else "")


def failure(field: str, error: Exception, allowed: str, hint: str = "") -> InvalidValue:
    """Return the error for an exception in the user's own code, which says what was raised and where.

    Args:
        field: name of the field that holds the user's code.
        error: the exception; raise the result `from` it.
        allowed: description of what the code must do.
        hint: how to fix the error (optional).
    """
    lines = str(error).strip().splitlines() or [""]
    text = lines[-1] if any("Original Traceback" in line for line in lines) else f"{type(error).__name__}: {lines[0]}"
    user_frames = [
        (frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith((*_NOT_THE_USERS, "<"))
    ]
    where = ""
    if user_frames:
        file, number = user_frames[-1]
        code = linecache.getline(file, number).strip()
        where = f"Line {number} of {Path(file).name}: {code if len(code) <= 80 else code[:77] + '...'}"
    return InvalidValue(field, text.strip(), allowed, ". ".join(part for part in (where, hint) if part))


_NOT_THE_USERS = (str(Path(__file__).parent), *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
