"""Replaces torch's fused functions by operations with correct higher derivatives, where these are needed.

torch differentiates some fused functions only once, and for others a higher derivative is wrong: the second derivative
of `torch._weight_norm`, and the third derivatives of batch, instance and layer norm, since their second derivative
treats mean and variance as constants. The Jacobian of the field is of second order, and a penalty on a gradient adds
one order. If only gradients are needed, torch's own functions are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from detente.autodiff.exact_normalization import THIRD
from detente.autodiff.exact_operations import SECOND, Operations
from detente.autodiff.recurrent_operations import RECURRENT
from detente.autodiff.whole_batch_norm import WholeBatchNorm
from detente.errors import InvalidValue, require
from detente.game import Game
from detente.ranks import ranks

# Files of torch.nn.modules with layers that call no replaced function, and exceptions in these files.
_PLAIN = ("linear", "conv", "activation", "pooling", "upsampling", "padding", "flatten", "dropout", "container")
_PLAIN_FILES = {f"torch.nn.modules.{name}" for name in (*_PLAIN, "pixelshuffle", "fold", "channelshuffle")}
_EXCEPTIONS = (nn.MultiheadAttention, nn.Hardsigmoid)
_LACKING = re.compile(r"derivative (?:for|of) '?([\w:.]+)'? is not implemented|(\S+): functions with out=")
_MAPPING = re.compile(r"Batching rule not implemented|vmap|functorch|torch\.func")
_DIFFERENTIABLE = "layers that torch can differentiate as often as the method and the penalties need"
_FIRST_ORDER = "Replace this operation, or use a first-order method, such as `simultaneous`, without penalties"

_ONCE_DIFFERENTIABLE = once_differentiable(lambda ctx: None).__code__  # the same for every function marked so
_EXACT: ContextVar[bool] = ContextVar("exact", default=False)  # whether `exact` already replaced what is needed


def exact(game: Game, differentiable: bool, forms: AbstractContextManager | None = None) -> AbstractContextManager:
    """Return a context in which torch's functions have correct derivatives of all orders that the losses need.

    Args:
        game: the game whose losses are computed.
        differentiable: whether the gradients of the losses are differentiated again.
        forms: a context with faster exact versions of some functions, which take precedence.
    """
    mapped = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
    memo, key = game.evaluation_memo, ("exact", differentiable, mapped)
    if key not in memo:
        memo[key] = _replacements(game, differentiable)
    operations, is_exact, allows_forms = memo[key]
    if not allows_forms:
        forms = None
    if (current := ranks()) is not None and current.batch_norm == "whole" and _may_call_replaced_functions(game):
        forms = WholeBatchNorm()  # exact to any order
    marked = _Marked(is_exact)
    return marked if not operations and forms is None else _replacing(marked, operations, forms)


def _replacements(game: Game, differentiable: bool) -> tuple[Operations, bool, bool]:
    """Return what `exact` replaces, whether all is exact then, and whether faster versions may take precedence."""
    allows_forms = not (differentiable and _normalizes_under_a_penalty(game))
    if not _may_call_replaced_functions(game):
        return {}, True, allows_forms
    # A game without the attribute `penalties` may differentiate inside its losses.
    order = 1 + differentiable + _penalises_gradients(game, differentiable)
    return _operations(order), order > 1, allows_forms


class _Marked:
    """Context in which `exact_within` knows whether everything is replaced already."""

    def __init__(self, is_exact: bool) -> None:
        self.is_exact = is_exact

    def __enter__(self) -> None:
        self.token = _EXACT.set(self.is_exact)

    def __exit__(self, *error: object) -> None:
        _EXACT.reset(self.token)


@contextmanager
def _replacing(marked: _Marked, operations: Operations, forms: AbstractContextManager | None) -> Iterator[None]:
    with marked, _Replaced(operations) if operations else nullcontext(), forms or nullcontext():
        yield


def exact_within() -> AbstractContextManager:
    """Return a context for functions whose gradients enter a loss, for games without the attribute `penalties`."""
    return nullcontext() if _EXACT.get() else _Replaced(_operations(2))


def _operations(order: int) -> Operations:
    """Return the replacements of torch's functions if losses are differentiated `order` times."""
    mapped = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
    mapped_only = RECURRENT if mapped else {}
    return {**(mapped_only if order < 2 else SECOND), **(THIRD if order > 2 else {})}


def _may_call_replaced_functions(game: Game) -> bool:
    """Whether a game may call a replaced function: all games except those made of plain layers of torch.nn.

    The user's own losses, in a game without the attribute `penalties`, may call any function.
    """
    if "may call replaced functions" not in game.evaluation_memo:
        modules = getattr(game, "modules", None)
        if isinstance(modules, Mapping):
            plain = all(_is_plain(part) for module in modules.values() for part in module.modules())
            plain = plain and hasattr(game, "penalties")
        else:
            plain = type(game).__module__.startswith("detente.games.")
        game.evaluation_memo["may call replaced functions"] = not plain
    return game.evaluation_memo["may call replaced functions"]


def _is_plain(part: nn.Module) -> bool:
    """Whether a layer, its submodules aside, is known to call no replaced function."""
    listed = type(part).__module__ in _PLAIN_FILES or type(part).__module__.startswith("detente.networks.")
    padded = any(getattr(part, "output_padding", ()))
    hooked = part._forward_pre_hooks or part._forward_hooks
    return listed and not padded and not hooked and not isinstance(part, _EXCEPTIONS)


def _penalises_gradients(game: Game, default: bool) -> bool:
    """Whether a penalty of the game differentiates scores; `default` for a game without the attribute `penalties`."""
    penalties = getattr(game, "penalties", None)
    return default if penalties is None else any(getattr(penalty, "differentiates", True) for penalty in penalties)


def _normalizes_under_a_penalty(game: Game) -> bool:
    """Whether a player may have both a penalty and BatchNorm, so that a penalty differentiates BatchNorm."""
    modules = getattr(game, "modules", None)
    if not _penalises_gradients(game, True) or not isinstance(modules, Mapping):
        return False
    is_gan = hasattr(game, "penalties") and "discriminator" in modules
    penalised = [modules["discriminator"]] if is_gan else modules.values()
    return any(isinstance(part, _BatchNorm) for module in penalised for part in module.modules())


class _Replaced(TorchFunctionMode):
    """Replaces some functions of torch while gradients are recorded."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        replacement = self.operations.get(func)
        if replacement is not None and torch.is_grad_enabled():
            func = replacement
        return func(*args, **kwargs) if kwargs else func(*args)


def require_right_gradients(name: str, module: nn.Module) -> None:
    """Raise `InvalidValue` if a player has a layer for which torch's first derivative is wrong."""
    wrong = [type(part).__name__ for part in module.modules() if isinstance(part, nn.CrossMapLRN2d)]
    require(not wrong, name, wrong, "layers with correct gradients", "Use torch.nn.LocalResponseNorm instead")


def require_differentiable(game: Game, losses: Iterable[Tensor], differentiable: bool) -> None:
    """Raise `InvalidValue` if losses to be differentiated twice depend on a function marked `once_differentiable`.

    They are differentiated twice by the method, if `differentiable`, or by the game's penalties. For such a function,
    `torch.autograd.grad` does not raise an error but omits a term. Each game is checked once.
    """
    checked = game.evaluation_memo.setdefault("checked for once_differentiable", set())
    twice = differentiable or _penalises_gradients(game, False)
    if twice in checked:
        return
    visited: set[object] = set()
    queue = [loss.grad_fn for loss in losses]
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        function = getattr(node, "_forward_cls", None)  # of a custom torch.autograd.Function
        once = getattr(getattr(function, "backward", None), "__code__", None) is _ONCE_DIFFERENTIABLE
        if node.name() == "DelayedError" or (twice and once):
            raise InvalidValue(
                type(game).__name__, "a function marked with @once_differentiable", _DIFFERENTIABLE, _FIRST_ORDER
            )
        queue += [input_node for input_node, _ in node.next_functions]
    checked.add(twice)


class refusing:  # noqa: N801, a context like those of contextlib, which take five times as long
    """Context that turns torch's errors about missing derivatives into `InvalidValue`.

    Raises:
        InvalidValue: a layer cannot be mapped, or not be differentiated as often as the method needs.
    """

    def __init__(self, game: Game) -> None:
        self.game = game

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if not isinstance(error, RuntimeError):
            return
        message, owner = str(error).partition("\n")[0], type(self.game).__name__
        if lacking := _LACKING.search(message):
            value = next((name for name in lacking.groups() if name), message)
            raise InvalidValue(owner, value, _DIFFERENTIABLE, _FIRST_ORDER) from error
        if _MAPPING.search(message):
            allowed = "layers that torch.vmap can map over samples or seeds, as this method does"
            raise InvalidValue(owner, message, allowed, "The field `consensus` does not need it") from error
