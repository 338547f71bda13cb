"""Placeholders for packages that are not imported: modules of classes whose results are unknown."""

from __future__ import annotations

import sys
from abc import ABCMeta
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from detente.arguments import Unchecked

KNOWN = {"torch.cuda.is_initialized": False}  # results that are certain before PyTorch is imported


class NoAnswer(BaseException):
    """Raised where the value of a placeholder is needed."""


def _ask(*_: object) -> NoReturn:
    raise NoAnswer


def _more(*_: object) -> Any:
    return Unknown()


def _result(*arguments: object) -> Any:
    """Return the result of a call: unknown, and of a decorator, a function with unknown results."""
    decorates = len(arguments) == 1 and type(arguments[0]) is FunctionType
    return (lambda *_, **__: Unknown()) if decorates else Unknown()


class Unknown(Unchecked):
    """A result of a placeholder. Whatever is computed from it is unknown, too; using its value raises `NoAnswer`."""

    __class__ = property(_ask)  # type: ignore[assignment]  # read by isinstance
    __bool__ = __len__ = __iter__ = __contains__ = __int__ = __float__ = __index__ = __format__ = _ask
    __str__ = _ask  # type: ignore[assignment]
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
    """The type of the attributes of placeholder modules: classes that can be inherited from and called."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _placeholder(f"{_path(cls)}.{name}") if _is_placeholder(cls) else _ask()

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        if not _is_placeholder(cls):  # a class that inherits from one
            return super().__call__(*args, **settings)
        return KNOWN[_path(cls)] if _path(cls) in KNOWN else _result(*args)

    def __getitem__(cls, _: object) -> Any:
        return cls

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.__subclasscheck__(instance.__class__)

    def __subclasscheck__(cls, subclass: type) -> bool:
        """Return whether a class inherits from this one; of two classes in packages, that is unknown."""
        if cls in subclass.__mro__:
            return True
        return _is_placeholder(cls) and any(map(_is_placeholder, subclass.__mro__)) and _ask()


_PLACEHOLDERS: dict[str, _Placeholder] = {}


def require_known(found: Any) -> Any:
    """Return what an import path stands for, which may be of any kind; raise `NoAnswer` for a placeholder."""
    return _ask() if type(found) is _Placeholder and _is_placeholder(found) else found


def _is_placeholder(kind: type) -> bool:
    return "_is_placeholder" in vars(kind)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _placeholder(path: str) -> _Placeholder:
    """Return the placeholder of an import path, always the same one."""
    if path not in _PLACEHOLDERS:
        module, _, name = path.rpartition(".")
        body = {"__module__": module, "_is_placeholder": True, "__init__": _accept, "__getattr__": _inherited}
        _PLACEHOLDERS[path] = _Placeholder(name, (), body)
    return _PLACEHOLDERS[path]


def _accept(instance: object, *_: object, **__: object) -> None:
    """Take the place of the constructor that a class of this library inherits."""


def _inherited(instance: object, name: str) -> Any:
    """Return an attribute that an object of this library inherits."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Unknown()


class Packages(MetaPathFinder, Loader):
    """Finds a placeholder for each package that is neither ours, nor Python's, nor imported yet."""

    def __init__(self) -> None:
        self.real = {*sys.stdlib_module_names, *(name.partition(".")[0] for name in sys.modules)}

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a placeholder; None for a package that is to be imported."""
        return None if fullname.partition(".")[0] in self.real else ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Let a module have any attribute."""

        def __getattr__(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return _placeholder(f"{module.__name__}.{name}")

        module.__getattr__ = __getattr__  # type: ignore[method-assign]
