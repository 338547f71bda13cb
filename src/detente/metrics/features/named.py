"""What a user names by its import path."""

from __future__ import annotations

import pkgutil
import sys
from typing import Any

from detente.errors import InvalidValue


def imported(path: str, field: str) -> Any:
    """Return what MODULE.NAME stands for; a user's modules may lie in the current directory.

    Raises:
        InvalidValue: it cannot be imported; the message names `field`.
    """
    if "" not in sys.path:
        sys.path.append("")
    try:
        return pkgutil.resolve_name(path)
    except Exception as error:  # a user's own module may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InvalidValue(field, path, "MODULE.NAME that can be imported", reason) from error
