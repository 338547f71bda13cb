"""Mistakes in values, found before PyTorch is imported: everything is built once without it, in a forked process.

The constructors of games and methods check their values. There, `torch` and every other package that is not imported
yet are placeholders, whose results are unknown: as soon as a constructor needs one, it ends without an answer. Then
what is built in earnest, with PyTorch, finds the mistake, if there is one.
"""

from __future__ import annotations

import os
import pickle
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from detente.errors import InvalidValue

READS = {"open", "os.listdir", "os.scandir"}  # what constructors may do with files, besides asking for their names
CHANGES = ("os.", "shutil.", "socket.", "subprocess.", "tempfile.", "urllib.", "sqlite3.")


class NoAnswer(BaseException):
    """Raised where a constructor needs what only PyTorch knows."""


def first_mistake(builds: Iterable[Callable[[], object]]) -> InvalidValue | None:
    """Return the first error that shows without PyTorch in what some functions build; None if none shows.

    It is also None where a rehearsal is not possible.
    """
    if not is_possible():
        return None
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException), os.fdopen(write, "wb") as stream:
            _without_packages()
            stream.write(pickle.dumps(_mistake(builds)))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        told = stream.read()
    os.waitpid(child, 0)
    return pickle.loads(told) if told else None  # written by our own process


def is_possible() -> bool:
    """Return whether PyTorch is not imported yet, so that a rehearsal gains time, and processes can be forked."""
    return "torch" not in sys.modules and hasattr(os, "fork")


def _mistake(builds: Iterable[Callable[[], object]]) -> InvalidValue | None:
    for build in builds:
        try:
            build()
        except InvalidValue as error:
            if _is_certain(error):
                return error
        except (Exception, NoAnswer):
            continue
    return None


def _is_certain(error: BaseException) -> bool:
    """Return whether no other error is behind an `InvalidValue`, such as one that only a placeholder causes."""
    causes = [each for each in (error.__cause__, error.__context__) if each is not None]
    return isinstance(error, InvalidValue) and all(map(_is_certain, causes))


def attempt(make: Callable[[Any], Any], value: Any) -> Any:
    """Return what `make` makes of a value; if that needs PyTorch, something of which nothing is known."""
    try:
        return make(value)
    except (Exception, NoAnswer) as error:
        if isinstance(error, InvalidValue) and _is_certain(error):
            raise
        return Unknown()


def _ask(*_: object) -> NoReturn:
    raise NoAnswer


def _more(*_: object, **__: object) -> Any:
    return Unknown()


def _result(*arguments: object) -> Any:
    """Return the result of a call: unknown, and of a decorator, a function with unknown results."""
    return (lambda *_, **__: Unknown()) if len(arguments) == 1 and type(arguments[0]) is FunctionType else Unknown()


class Unknown:
    """A result of a placeholder; what is computed from it is unknown, too, and every question about it ends."""

    __class__ = property(_ask)  # type: ignore[assignment]  # asked by isinstance
    __bool__ = __len__ = __iter__ = __contains__ = __int__ = __float__ = __index__ = __str__ = __format__ = _ask
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __repr__ = _ask  # type: ignore[assignment]
    __getitem__ = __enter__ = __neg__ = __invert__ = __abs__ = _more
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _more
    __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __or__ = __ror__ = __and__ = __rand__ = _more

    def __call__(self, *arguments: object, **_: object) -> Any:
        """Return an unknown result."""
        return _result(*arguments)

    def __getattr__(self, name: str) -> Any:
        """Return an unknown attribute."""
        return Unknown()

    def __setattr__(self, name: str, value: object) -> None:
        """Forget the value."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class _Placeholder(ABCMeta):
    """The type of what packages are said to hold: classes, which others can inherit from or call."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _placeholder(f"{cls.__module__}.{cls.__qualname__}.{name}") if _is_placeholder(cls) else _ask()

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        return _called(cls, args) if _is_placeholder(cls) else super().__call__(*args, **settings)

    def __getitem__(cls, _: object) -> Any:
        return cls

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.__subclasscheck__(instance.__class__)

    def __subclasscheck__(cls, subclass: type) -> bool:
        """Return whether a class inherits from this one; of two classes in packages, that is unknown."""
        if cls in subclass.__mro__:
            return True
        return _ask() if _is_placeholder(cls) and any(map(_is_placeholder, subclass.__mro__)) else False


KNOWN = {"torch.cuda.is_initialized": False}  # results that are certain before PyTorch is imported
_PLACEHOLDERS: dict[str, _Placeholder] = {}


def _is_placeholder(kind: _Placeholder) -> bool:
    return "_placeholder" in vars(kind)


def _placeholder(path: str) -> _Placeholder:
    """Return the placeholder of an import path, always the same one."""
    if path not in _PLACEHOLDERS:
        module, _, name = path.rpartition(".")
        body = {
            "_placeholder": True,
            "__module__": module,
            "__init__": lambda self, *_, **__: None,
            "__getattr__": _member,
        }
        _PLACEHOLDERS[path] = _Placeholder(name, (), body)
    return _PLACEHOLDERS[path]


def _called(placeholder: _Placeholder, arguments: tuple[Any, ...]) -> Any:
    path = f"{placeholder.__module__}.{placeholder.__qualname__}"
    return KNOWN[path] if path in KNOWN else _result(*arguments)


def _member(instance: object, name: str) -> Any:
    """Return an attribute that an object of ours inherits from a placeholder."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Unknown()


class _Packages(MetaPathFinder, Loader):
    """Finds a placeholder for each package that is neither ours, nor Python's, nor imported yet."""

    def __init__(self) -> None:
        self.real = {*sys.stdlib_module_names, *(name.partition(".")[0] for name in sys.modules)}

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return None if fullname.partition(".")[0] in self.real else ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        def __getattr__(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return _placeholder(f"{module.__name__}.{name}")

        module.__getattr__ = __getattr__  # type: ignore[method-assign]


def _without_packages() -> None:
    """Replace packages by placeholders in this process, and forbid it to change anything outside."""
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, _Packages())
    sys.addaudithook(_forbid_changes)


def _forbid_changes(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event.startswith(CHANGES) and event not in READS:
        raise NoAnswer
