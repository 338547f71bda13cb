"""Schedules as text, for the command line and YAML files."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Mapping
from typing import Any

from detente.errors import InvalidValue, unknown
from detente.registry import members
from detente.schedules.base import Schedule
from detente.schedules.constant import Constant

FORM = "a schedule such as 'cosine(1e-4, 0, 10000)', 'warmup(1e-4, 500)' or 'linear(0, 1e-4, 500).then(1e-4, 500)'"


def parse(text: str) -> Schedule:
    """Return the schedule that a text describes.

    A schedule is written like a call in Python, with its name in snake case: `cosine(1e-4, 0, 10000)`,
    `step(start=1e-4, factor=0.1, every=1000)`. Schedules are combined by `+`, `*` and `.then(schedule, at)`. A schedule
    of your own is `MODULE.NAME(…)`. Nothing else is evaluated.

    Args:
        text: the description.

    Raises:
        InvalidValue: the text has another form, or a schedule does not exist or does not accept its settings.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise InvalidValue("schedule", text, FORM, f"At {error.offset}: {error.msg}") from error
    result = _evaluated(tree, text)
    if isinstance(result, int | float) and not isinstance(result, bool):
        return Constant(float(result))
    if not isinstance(result, Schedule):
        raise InvalidValue("schedule", text, FORM)
    return result


def from_text(setting: Any) -> Any:
    """Return a setting with the text in it read as a number or a schedule, where it is one ("1e-3" is text in YAML).

    Args:
        setting: a value, or values in a mapping, list or tuple.

    Raises:
        InvalidValue: a text in the form of a call is not a schedule.
    """
    if isinstance(setting, Mapping):
        return {key: from_text(part) for key, part in setting.items()}
    if type(setting) in (list, tuple):
        return type(setting)(from_text(part) for part in setting)
    if not isinstance(setting, str):
        return setting
    if "(" in setting:
        return parse(setting)
    try:
        return float(setting)
    except ValueError:
        return setting


def _evaluated(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_evaluated(item, text) for item in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _evaluated(node.operand, text)
        return _number(number, text) * -1
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        first, second = (_number(_evaluated(side, text), text) for side in (node.left, node.right))
        return first + second if isinstance(node.op, ast.Add) else first * second
    if isinstance(node, ast.Call) and all(keyword.arg for keyword in node.keywords):
        positional = [_evaluated(argument, text) for argument in node.args]
        named = {str(keyword.arg): _evaluated(keyword.value, text) for keyword in node.keywords}
        return _called(_callee(node.func, text), positional, named, text)
    raise InvalidValue("schedule", text, FORM, f"Not understood: {ast.unparse(node)}")


def _number(operand: Any, text: str) -> Any:
    if not isinstance(operand, int | float | Schedule) or isinstance(operand, bool):
        raise InvalidValue("schedule", text, FORM, f"Neither a number nor a schedule: {operand!r}")
    return operand


def _callee(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name):
        if node.id not in members("schedules"):
            raise unknown("schedule", node.id, members("schedules"))
        return members("schedules")[node.id]
    if isinstance(node, ast.Attribute) and node.attr == "then" and isinstance(node.value, ast.Call):
        return _evaluated(node.value, text).then
    path = ast.unparse(node)
    try:
        schedule = pkgutil.resolve_name(path)
    except Exception as error:  # a user's own module may raise anything
        raise InvalidValue("schedule", path, "MODULE.NAME of a schedule that can be imported", str(error)) from error
    if not (isinstance(schedule, type) and issubclass(schedule, Schedule)):
        raise InvalidValue("schedule", path, "MODULE.NAME of a schedule, a subclass of detente.schedules.Schedule")
    return schedule


def _called(callee: Any, positional: list[Any], named: dict[str, Any], text: str) -> Any:
    try:
        return callee(*positional, **named)
    except TypeError as error:
        raise InvalidValue("schedule", text, FORM, str(error)) from error
