"""Runs `detente` commands in this process and captures their output."""

from __future__ import annotations

import contextlib
import io

from detente import cli


def run_command(arguments: list[str], allowed: tuple[int, ...] = (0,)) -> int:
    """Run `detente` with the given arguments, and return its exit status.

    Raises:
        RuntimeError: the status is not allowed; the message ends with the last output of the command.
    """
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        exit_status = cli.main(arguments)
    if exit_status not in allowed:
        raise RuntimeError(f"detente {arguments[0]} ended with {exit_status}: {output.getvalue()[-300:]}")
    return exit_status
