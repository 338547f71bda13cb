"""Commands of `detente`, carried out in this process without their output."""

from __future__ import annotations

import contextlib
import io

from detente import cli


def called(words: list[str], allowed: tuple[int, ...] = (0,)) -> int:
    """Return the exit status of `detente` with these words.

    Raises:
        RuntimeError: it is none of those allowed; with the end of what the command said.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(words)
    if code not in allowed:
        raise RuntimeError(f"detente {words[0]} ended with {code}: {said.getvalue()[-300:]}")
    return code
