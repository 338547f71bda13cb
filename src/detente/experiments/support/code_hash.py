"""A hash of the code that decides an experiment's claims."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from typing import Any

from detente.experiments.base import Experiment

SUPPORT = "detente.experiments.support."
TEXTS = ("title", "paper", "figure", "deviations", "tried")  # attributes that describe and decide nothing


def code_hash(experiment: type[Experiment], profile: str) -> str:
    """Return twelve hexadecimal digits that change with an experiment's claims, rules, runs or size.

    Args:
        experiment: the class. Its file counts, and those of `experiments.support` that the file imports, but for
            docstrings, comments, layout, descriptions (`title`, `deviations`, `tried`, …) and `draw`; not those of
            intervals and rules, whose numbers are stored with the result.
        profile: the profile that is run; the sizes of the others do not count.
    """
    module = sys.modules[experiment.__module__]
    tree = ast.parse(inspect.getsource(module))
    imported = sorted(
        str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(SUPPORT)
        and node.module != f"{SUPPORT}interval_estimate"
    )
    sources = [tree, *(ast.parse(inspect.getsource(sys.modules[name])) for name in dict.fromkeys(imported))]
    size: dict[str, Any] = {**experiment.sizes[profile], "seeds": None}
    text = "\n".join([*(ast.unparse(_Deciding().visit(source)) for source in sources), repr(sorted(size.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class _Deciding(ast.NodeTransformer):
    """Removes from a module what decides nothing."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not _describes(statement)]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
        return super().generic_visit(node)


def _is_text(statement: ast.stmt) -> bool:
    """Return whether a statement is a docstring or a constant that describes deviations."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id.endswith("_DEVIATION") for target in targets)


def _describes(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        return statement.name == "draw"
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id in (*TEXTS, "sizes") for target in targets)
