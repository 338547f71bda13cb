"""Classes and functions as their files describe them, read from the source text without importing it.

Importing a member imports PyTorch, which takes seconds. Its name, description and arguments are in the text of its
file, so the command line lists members and finds errors quickly, and imports only what it builds.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import gc
import importlib
import pkgutil
import re
import sys
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_HEAD = r"def (?P<{1}>\w+).*(?:\(\n(?:{0} {{4}}.*\n)+{0}\).*)?:(?: *#.*)?\n"  # of a function, indented by {0}
_FUNCTIONS = re.compile(
    r'"""(?s:.*?)"""'  # there may be examples in it
    rf'|^(?P<head>{_HEAD.format("", "function")}(?: {{4}}"""(?s:.*?)"""\n)?)(?:(?: {{4}}.*)?\n)+'
    rf"|^(?P<indented_head>    {_HEAD.format('    ', 'method')})(?:(?: {{8}}.*)?\n)+",
    re.MULTILINE,
)


class Outline(type):
    """A class or function by its import path; in types it represents what it describes; calling it imports that.

    Objects outside détente, such as `torch.nn.Module`, have only a path.
    """

    def __new__(cls, path: str, node: ast.ClassDef | ast.FunctionDef | None = None) -> Outline:
        """Return the outline of what `node` defines."""
        module, _, name = path.rpartition(".")
        doc = ast.get_docstring(node) if node else None
        return super().__new__(cls, name, (), {"__module__": module, "__qualname__": name, "__doc__": doc})

    def __init__(cls, path: str, node: ast.ClassDef | ast.FunctionDef | None = None) -> None:
        cls.path, cls._node = path, node

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        """Import what is described, and call it."""
        return cls.load()(*args, **settings)

    def __getattr__(cls, name: str) -> Outline:
        if name.startswith("_") or cls._node is not None:
            raise AttributeError(name)
        return _outside(f"{cls.path}.{name}")

    def load(cls) -> Any:
        """Return what is described, imported."""
        return pkgutil.resolve_name(cls.path)

    def lineage(cls) -> list[Outline]:
        """Return a class and the classes that it inherits from, nearest first."""
        lineage: dict[Outline, None] = {cls: None}
        for base in cls._node.bases if isinstance(cls._node, ast.ClassDef) else ():
            if isinstance(kind := _evaluate(cls.__module__, base), Outline):
                lineage |= dict.fromkeys(kind.lineage())
        return [*lineage]

    def is_abstract(cls) -> bool:
        """Return whether a class lacks a method that it must define."""
        defined: set[str] = set()
        for kind in cls.lineage():
            for statement in kind._body():
                if isinstance(statement, ast.FunctionDef) and _decorated(statement, "abstractmethod"):
                    if statement.name not in defined:
                        return True
            defined |= {name for statement in kind._body() for name in _names(statement)}
        return False

    def returned(cls) -> str:
        """Return the name of the class that a function returns; empty if it is no function, or does not say."""
        returns = cls._node.returns if isinstance(cls._node, ast.FunctionDef) else None
        return returns.id if isinstance(returns, ast.Name) else ""

    def constant(cls, name: str) -> Any:
        """Return the value of a class attribute; raises `AttributeError` if no statement assigns it."""
        for kind in cls.lineage():
            for statement in kind._body():
                if isinstance(statement, ast.Assign | ast.AnnAssign) and name in _names(statement) and statement.value:
                    return _evaluate(kind.__module__, statement.value)
        raise AttributeError(name)

    def decoration(cls, name: str) -> dict[str, Any]:
        """Return the keyword arguments of a decorator of this name; empty if there is none."""
        decorators = cls._node.decorator_list if cls._node else []
        for call in decorators:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
                return {word.arg: _evaluate(cls.__module__, word.value) for word in call.keywords if word.arg}
        return {}

    def parameters(cls) -> tuple[dict[str, Parameter], bool]:
        """Return the keyword parameters by name, with their types, and whether there may be any others.

        A default that is the result of a call is `...`.
        """
        if isinstance(cls._node, ast.FunctionDef):
            return _parameters(cls.__module__, cls._node, bound=False)
        lineage = cls.lineage()
        for kind in lineage:
            for statement in kind._body():
                if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                    return _parameters(kind.__module__, statement, bound=True)
            if kind._is_data_class():
                break
        fields = [kind._field(each) for kind in reversed(lineage) if kind._is_data_class() for each in kind._body()]
        return {field.name: field for field in fields if field}, False

    def _body(cls) -> list[ast.stmt]:
        return cls._node.body if isinstance(cls._node, ast.ClassDef) else []

    def _is_data_class(cls) -> bool:
        return isinstance(cls._node, ast.ClassDef) and _decorated(cls._node, "dataclass")

    def _field(cls, statement: ast.stmt) -> Parameter | None:
        """Return the parameter of a data class's `__init__` that a statement declares, if it does."""
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            return None
        kind, value, default = statement.annotation, statement.value, Parameter.empty
        if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
            if kind.value.id == "ClassVar":
                return None
            kind = kind.slice if kind.value.id == "InitVar" else kind
        if isinstance(value, ast.Call) and _evaluate(cls.__module__, value.func) is dataclasses.field:
            options = {keyword.arg: keyword.value for keyword in value.keywords}
            if "init" in options and not _evaluate(cls.__module__, options["init"]):
                return None
            value = options.get("default")
            if "default_factory" in options:
                factory = _evaluate(cls.__module__, options["default_factory"])
                default = factory() if factory in (dict, list, tuple) else ...
        if value is not None:
            default = _default(cls.__module__, value)
        return Parameter(
            statement.target.id,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=default,
            annotation=_evaluate(cls.__module__, kind),
        )


def outline(path: str) -> Outline:
    """Return the outline of a class or function of détente by its import path, e.g. `detente.training.run.Run`."""
    module, _, name = path.rpartition(".")
    described = _meaning(module, name)
    if not isinstance(described, Outline):
        raise TypeError(f"{path} is no class or function")
    return described


def outlines(module: str) -> dict[str, Outline]:
    """Return the public classes and functions that a module's file defines, by name."""
    nodes = [node for node in _statements(module) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return {node.name: outline(f"{module}.{node.name}") for node in nodes if not node.name.startswith("_")}


def modules(package: str) -> list[str]:
    """Return the full names of all modules inside a package."""
    names = (path.relative_to(_ROOT.parent).with_suffix("") for path in sorted(_path(package).parent.rglob("*.py")))
    return [".".join(name.parts) for name in names if name.name != "__init__"]


def _path(module: str) -> Path:
    """Return the file of a module of détente."""
    path = _ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def outlined(text: str) -> str:
    """Return a formatted module's text without the parts of functions that no outline shows, but that take time."""
    return _FUNCTIONS.sub(_outlined_function, text)


def _outlined_function(match: re.Match[str]) -> str:
    """Return a public function with its docstring, `__init__`, or the name of any other function or method."""
    function, method = match["function"], match["method"]
    if not (function or method):
        return match[0]
    if method:
        return f"{match['indented_head']}        ...\n" if method == "__init__" else f"    def {method}(): ...\n"
    return f"def {function}(): ...\n" if function.startswith("_") else f"{match['head']}    ...\n"


@cache
def _statements(module: str) -> list[ast.stmt]:
    """Return the statements of a module's file, with those for type checkers only."""
    statements: list[ast.stmt] = []
    text = _path(module).read_text(encoding="utf-8")
    collects = gc.isenabled()
    gc.disable()  # a syntax tree has many parts and no garbage
    try:
        tree = ast.parse(outlined(text))
    except SyntaxError:  # the text is not formatted as by `ruff format`
        tree = ast.parse(text)
    finally:
        if collects:
            gc.enable()
    for statement in tree.body:
        statements += [*statement.body, statement] if isinstance(statement, ast.If) else [statement]
    return statements


class _Names(dict[str, Any]):
    """The names in a module's file, which are read when they are needed."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            return getattr(builtins, name)
        return _meaning(self.module, name)


@cache
def _meaning(module: str, name: str) -> Any:
    """Return what a name in a module's file stands for."""
    for statement in _statements(module):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return Outline(f"{module}.{name}", statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and name in _names(statement) and statement.value:
            return _evaluate(module, statement.value)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    home = statement.module if isinstance(statement, ast.ImportFrom) else None
                    return _imported(home, alias.name if home or alias.asname else name)
    raise NameError(f"{name} in {module}")


def _imported(module: str | None, name: str) -> Any:
    """Return what `from module import name` stands for, or `import name`."""
    path = f"{module}.{name}" if module else name
    top = path.partition(".")[0]
    if top in sys.stdlib_module_names:
        return getattr(importlib.import_module(module), name) if module else importlib.import_module(name)
    if top != "detente" or module is None or _path(path).exists():
        return _outside(path)
    return _meaning(module, name)


@cache
def _outside(path: str) -> Outline:
    return Outline(path)


def _evaluate(module: str, expression: ast.expr) -> Any:
    """Return the value of a type or a constant in a module's file."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    return eval(compile(ast.Expression(expression), module, "eval"), {}, _Names(module))  # our own source text


def _default(module: str, expression: ast.expr) -> Any:
    calls = any(isinstance(node, ast.Call) for node in ast.walk(expression))
    return ... if calls else _evaluate(module, expression)


def _parameters(module: str, node: ast.FunctionDef, bound: bool) -> tuple[dict[str, Parameter], bool]:
    """Return the keyword parameters of a function, and whether it takes any other keyword."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True)][bound or len(arguments.posonlyargs) :]
    parameters = {}
    for argument, default in (*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)):
        parameters[argument.arg] = Parameter(
            argument.arg,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if default is None else _default(module, default),
            annotation=Any if argument.annotation is None else _evaluate(module, argument.annotation),
        )
    return parameters, arguments.kwarg is not None


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        return {statement.target.id}
    return set()


def _decorated(node: ast.FunctionDef | ast.ClassDef, name: str) -> bool:
    calls = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return any(isinstance(each, ast.Name) and each.id == name for each in calls)
