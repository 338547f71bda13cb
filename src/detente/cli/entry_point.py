"""The command line: `detente COMMAND …`; each command is one file in `detente.cli.commands`."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from types import ModuleType

import detente
import detente.cli.commands as packages
from detente.cli.ranks import one_of_several, printing_once
from detente.cli.rehearsal import rehearsing
from detente.cli.terminal import flush, one_line, silence, streams
from detente.errors import InvalidValue, RankError, unknown
from detente.training.signals import exit_status, raise_on_termination

TOGETHER = ("train", "resume")  # commands that torchrun may start as several processes


def commands() -> list[str]:
    """Return the names of all commands: the files of `detente.cli.commands`."""
    return sorted(info.name for info in pkgutil.iter_modules(packages.__path__))


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status.

    The status is 0, or 2 for a user's mistake; 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP.

    Args:
        words: the words after `detente` (default: those of this process).
    """
    if one_of_several():
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost process is reported in one line
    with streams():
        status = _status(list(sys.argv[1:] if words is None else words))
        flush()
    return status


def _status(words: list[str]) -> int:
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with raise_on_termination(), nullcontext() if one_of_several() else rehearsing():
            return _main(words)
    except InvalidValue as error:
        if debug:
            raise
        _complain(one_line(error), error)
        return 2
    except KeyboardInterrupt as interrupt:
        _complain("interrupted", interrupt)
        return exit_status(interrupt)
    except SystemExit as end:  # after a help page
        return end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:  # as in `detente list | head`
        silence(sys.stdout)
        return 0
    except OSError as error:
        if debug:
            raise
        allowed = "a file that can be read or written"
        _complain(one_line(InvalidValue("file", error.filename, allowed, error.strerror or str(error))), error)
        return 2
    except RankError as error:
        if debug:
            raise
        _complain(one_line(error), error)
        return 1
    except Exception as error:
        if debug:
            raise
        _complain(f"{type(error).__name__}: {one_line(error)} (--debug shows where)", error)
        return 1


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"detente {detente.__version__}")
        return 0
    if words[0] not in commands():
        raise unknown("command", words[0], commands())
    if one_of_several() and words[0] not in TOGETHER:
        hint = "Start it once, without torchrun"
        raise InvalidValue("command", words[0], f"{' or '.join(TOGETHER)} by several processes", hint)
    return _command(words[0]).main(words[1:])


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"detente.cli.commands.{name}")


def _overview() -> str:
    modules = {name: _command(name) for name in commands()}
    ranked = sorted(modules, key=lambda name: (modules[name].RANK, name))
    lines = [f"  {name:<9} {modules[name].DESCRIPTION}" for name in ranked]
    return "\n".join(
        [
            "détente: train GANs and other differentiable games.",
            "",
            "usage: detente COMMAND …    (detente COMMAND --help describes a command; --debug shows tracebacks)",
            "",
            *lines,
            "",
            "A first run:  detente compare --game ring --methods simultaneous consensus --steps 2000 --out runs/ring",
        ]
    )


def _complain(text: str, error: BaseException) -> None:
    with printing_once(error) as prints:
        if sys.stderr is None or not prints:  # closed; or another process prints it
            return
        try:
            print(f"detente: {text}", file=sys.stderr, flush=True)
        except OSError:  # the exit status still reports the error
            silence(sys.stderr)
