"""A hash of the code that decides an experiment's claims."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator

from detente.experiments.base import Experiment

SUPPORT = "detente.experiments.support."
DECIDED_ELSEWHERE = f"{SUPPORT}interval_estimate"  # its numbers and rules are stored with the result
TEXTS = ("title", "paper", "figure", "deviations", "tried")  # attributes that describe and decide nothing


def code_hash(experiment: type[Experiment], profile: str) -> str:
    """Return twelve hexadecimal digits that change with an experiment's claims, rules, runs or size.

    Args:
        experiment: the class. What counts is its code and the functions and constants that it uses, directly or not, in
            its file and in `experiments.support`; not docstrings, comments, layout, descriptions (`title`,
            `deviations`, `tried`, …) or `draw` and what only `draw` uses.
        profile: the profile that is run; the sizes of the others do not count.
    """
    size = {**experiment.sizes[profile], "seeds": None}
    text = "\n".join([*sorted(_used(experiment.__module__, experiment.__name__, set())), repr(sorted(size.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _used(module: str, name: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the code that defines a name of a module, and that of all names which it uses."""
    if (module, name) in seen or name.endswith("_DEVIATION"):
        return
    seen.add((module, name))
    for statement in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(statement, ast.ImportFrom):
            source = statement.module or ""
            if source.startswith(SUPPORT) and source != DECIDED_ELSEWHERE:
                for alias in statement.names:
                    if name == (alias.asname or alias.name):
                        yield from _used(source, alias.name, seen)
        elif name in _defined(statement):
            decisive = _Deciding().visit(statement)
            yield ast.unparse(decisive)
            for node in ast.walk(decisive):
                if isinstance(node, ast.Name):
                    yield from _used(module, node.id, seen)


def _defined(statement: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


class _Deciding(ast.NodeTransformer):
    """Removes from classes and functions what decides nothing."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not {*_defined(statement)} & {*TEXTS, "sizes", "draw"}]
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            node.body = [statement for statement in node.body if not _is_docstring(statement)]
        return super().generic_visit(node)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
