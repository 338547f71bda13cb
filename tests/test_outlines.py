"""Outlines read from a member's file equal what importing it gives."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest

import detente
from detente import methods
from detente.cli.naming import parameters
from detente.games import presets
from detente.methods.method import Method
from detente.registry import FOLDERS, described, described_functions, members
from detente.registry.outlines import Outline, outline, outlined
from detente.training.run import Run

FUNCTIONS = {"detente.methods": (methods.names, "Method"), "detente.games.presets": (presets.names, "Game")}
PAIRS: dict[str, tuple[Outline, Callable[..., Any]]] = {
    **{f"{f}.{name}": (description, members(f)[name]) for f in FOLDERS for name, description in described(f).items()},
    **{
        f"{package}.{name}": (description, imported()[name])
        for package, (imported, returned) in FUNCTIONS.items()
        for name, description in described_functions(package, returned).items()
    },
    "Run": (outline("detente.training.run.Run"), Run),
    "Method": (outline("detente.methods.method.Method"), Method),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_member_of_a_folder_is_described(folder: str) -> None:
    assert list(described(folder)) == list(members(folder))


@pytest.mark.parametrize("package", FUNCTIONS)
def test_every_function_of_a_package_is_described(package: str) -> None:
    imported, returned = FUNCTIONS[package]
    assert list(described_functions(package, returned)) == list(imported())


@pytest.mark.parametrize("name", PAIRS)
def test_an_outline_equals_the_imported_signature(name: str) -> None:
    read, imported = PAIRS[name]
    assert read.load() is imported
    assert (read.__module__, read.__qualname__) == (imported.__module__, imported.__qualname__)
    assert inspect.getdoc(read) == inspect.getdoc(imported)
    (of_read, read_others), (of_imported, others) = parameters(read), parameters(imported)
    assert list(of_read) == list(of_imported) and read_others == others
    for key, parameter in of_imported.items():
        assert loaded_type(of_read[key].annotation) == loaded_type(parameter.annotation), key
        default = of_read[key].default
        assert not is_plain(parameter.default) if default is ... else default == parameter.default, key


def test_the_text_that_is_parsed_says_what_the_file_says() -> None:
    for path in Path(str(detente.__file__)).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert without_bodies(outlined(text)) == without_bodies(text), path
    unformatted = "class A:\n  def f(self):\n    return 1\n  x = 2\n"
    assert outlined(unformatted) == unformatted


def without_bodies(text: str) -> str:
    """Return the syntax tree of a module with docstrings of public functions, and arguments of these and `__init__`."""
    tree = ast.parse(text)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            docstring = ast.get_docstring(function, clean=False)
            public = function in tree.body and not function.name.startswith("_")
            function.body = [ast.Expr(ast.Constant(docstring))] if docstring and public else []
            if not public and function.name != "__init__":
                function.args, function.returns = ast.arguments([], [], None, [], [], None, []), None
    return ast.dump(tree)


@pytest.mark.parametrize("name", members("metrics"))
def test_an_outline_has_the_constants_of_its_class(name: str) -> None:
    read, imported = described("metrics")[name], members("metrics")[name]
    for constant in ("better", "needs", "unit", "routine"):
        assert read.constant(constant) == getattr(imported, constant)
    with pytest.raises(AttributeError):
        read.constant("absent")


@pytest.mark.parametrize("name", members("experiments"))
def test_an_outline_has_the_titles_of_its_experiment(name: str) -> None:
    read, imported = described("experiments")[name], members("experiments")[name]
    for constant in ("title", "paper", "figure"):
        assert read.constant(constant) == getattr(imported, constant)


def loaded_type(kind: Any) -> Any:
    """Return a type with every outline in it replaced by what it describes."""
    if isinstance(kind, list):
        return [*map(loaded_type, kind)]
    if isinstance(kind, Outline):
        return kind.load()
    if typing.get_origin(kind) is typing.Literal or not typing.get_args(kind):
        return kind
    return typing.get_origin(kind), [loaded_type(part) for part in typing.get_args(kind)]


def is_plain(default: Any) -> bool:
    return default is Parameter.empty or isinstance(default, bool | int | float | str | None)
