"""Finds invalid options before PyTorch, whose import takes seconds, is imported.

When a command first imports `torch` or NumPy, the process is forked. The copy continues without them: they, and every
other package that is not imported yet, are placeholders, whose results are unknown. As soon as it needs such a result,
the copy ends without an answer. If it finds an invalid option, the command ends with that error; otherwise the packages
are imported. So each rule is stated once, in its constructor or command. The copy has no side effects.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from detente.cli.placeholders import NoAnswer, Packages, Unknown
from detente.errors import InvalidValue

SLOW = ("numpy", "torch")  # whichever a command imports first
HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv")
CHANGES = ("os.", "fcntl.", "shutil.", "socket.", "sqlite3.", "subprocess.", "tempfile.", "urllib.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_COPY: dict[str, int] = {}  # in the copy, the pipe through which it reports an error


class Mistake(BaseException):
    """Raised in place of the import of PyTorch if the copy found an error; not caught by `except Exception`."""

    def __init__(self, error: InvalidValue) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def rehearsing() -> Iterator[None]:
    """Rehearse the rest of a `with` block when it first imports PyTorch.

    Raises:
        InvalidValue: as in the block, or earlier, if it showed in the rehearsal.
    """
    hook = _Hook()
    if is_possible():
        sys.meta_path.insert(0, hook)
    try:
        yield
    except Mistake as mistake:
        raise mistake.error from None
    except BaseException as error:
        _end(error)
        raise
    finally:
        _end()
        hook.remove()


def rehearse(action: Callable[[], object]) -> None:
    """Run an action in a copy only, and raise the `Mistake` that it finds; requires `is_possible`."""
    _fork()
    if _COPY:
        try:
            action()
        except BaseException as error:
            _end(error)
        _end()


def is_possible() -> bool:
    """Return whether a rehearsal saves time (PyTorch is not imported yet) and processes can be forked."""
    return "torch" not in sys.modules and hasattr(os, "fork")


def attempt(make: Callable[[Any], Any], value: Any, repeatable: bool = True) -> Any:
    """Return `make(value)`; in a copy, something unknown if that needs PyTorch.

    Args:
        make: a function.
        value: its argument.
        repeatable: whether it may be called in the copy, too.
    """
    try:
        return Unknown() if _COPY and not repeatable else make(value)
    except (Exception, NoAnswer) as error:
        if not _COPY or _is_certain(error):  # it may have become a copy inside
            raise
        return Unknown()


def _is_certain(error: BaseException) -> bool:
    """Return whether an error is the user's mistake, and not caused by a placeholder."""
    causes = [each for each in (error.__cause__, error.__context__) if each is not None]
    return isinstance(error, InvalidValue) and all(map(_is_certain, causes))


def _fork() -> None:
    """Fork the process; in the original, wait for the copy, and raise the `Mistake` that it reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _COPY["pipe"] = writing
        silent = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silent, stream)
        sys.dont_write_bytecode = True
        sys.meta_path.insert(0, Packages())
        sys.addaudithook(_forbid_changes)
        return
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    if message:
        raise Mistake(pickle.loads(message))  # written by this program


def _end(error: BaseException | None = None) -> None:
    """End the copy, which reports an error if it is certain; without effect in the original."""
    if _COPY:
        try:
            if error is not None and _is_certain(error):
                os.write(_COPY["pipe"], pickle.dumps(error))
        finally:
            os._exit(0)


def _forbid_changes(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise `NoAnswer` where the copy would change anything outside."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
    if writes or event.startswith(CHANGES) and event not in HARMLESS:
        raise NoAnswer


class _Hook(MetaPathFinder):
    """Forks the process when our code, but not the user's, first imports PyTorch."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname in SLOW:
            self.remove()
            if _importing_module().startswith("detente."):
                _fork()
        return Packages().find_spec(fullname) if _COPY else None

    def remove(self) -> None:
        """Remove the hook."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)


def _importing_module() -> str:
    """Return the name of the module whose import statement is carried out."""
    frame = sys._getframe(2)
    while frame.f_back and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))
