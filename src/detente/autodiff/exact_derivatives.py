"""When torch's fused functions are replaced by operations whose higher derivatives are right.

torch differentiates some fused functions only once, and of others a higher derivative is wrong: that of
`torch._weight_norm` errs at the second order, and those of batch, instance and layer norm at the third, since their
second derivative takes mean and variance for constants. The Jacobian of the field is of second order; a penalty on a
gradient adds one order to everything. Gradients alone keep torch's own functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from detente.autodiff.exact_normalization import THIRD
from detente.autodiff.exact_operations import SECOND, Operations
from detente.autodiff.recurrent_operations import RECURRENT
from detente.errors import InvalidValue, require
from detente.game import Game

# Layers that call nothing that is replaced, by the file of torch.nn.modules that they are in; and the exceptions.
_PLAIN = ("linear", "conv", "activation", "pooling", "upsampling", "padding", "flatten", "dropout", "container")
_PLAIN_FILES = {f"torch.nn.modules.{name}" for name in (*_PLAIN, "pixelshuffle", "fold", "channelshuffle")}
_EXCEPTIONS = (nn.MultiheadAttention, nn.Hardsigmoid)
_LACKING = re.compile(r"derivative (?:for|of) '?([\w:.]+)'? is not implemented|(\S+): functions with out=")
_MAPPING = re.compile(r"Batching rule not implemented|vmap|functorch|torch\.func")
_OFTEN = "layers that torch can differentiate as often as the method and the penalties need"
_LOWER = "Replace this operation, or use a method of first order, such as `simultaneous`, without penalties"

_SETTLED: ContextVar[bool] = ContextVar("settled", default=False)


@contextmanager
def exact(game: Game, differentiable: bool, forms: AbstractContextManager | None = None) -> Iterator[None]:
    """Losses computed within have right derivatives, as far as torch's functions are concerned.

    Args:
        game: the game whose losses they are.
        differentiable: whether the losses' gradients are differentiated themselves.
        forms: a context in which single functions are quicker and exact, which come first.
    """
    if not _needed(game):
        operations, settled = {}, True
    else:
        # A game that does not say which penalties it has may differentiate within its losses.
        penalised = bool(getattr(game, "penalties", differentiable))
        order = 1 + differentiable + penalised
        operations, settled = _operations(order), order > 1
    if differentiable and _normalizes_under_a_penalty(game):
        forms = None
    before = _SETTLED.set(settled)
    try:
        with _Replaced(operations) if operations else nullcontext(), forms or nullcontext():
            yield
    finally:
        _SETTLED.reset(before)


def exact_within() -> AbstractContextManager:
    """Return a context for a function whose gradient enters a loss, for games that do not name their penalties."""
    return nullcontext() if _SETTLED.get() else _Replaced(_operations(2))


def _operations(order: int) -> Operations:
    """Return what replaces torch's functions where losses are differentiated `order` times."""
    mapped = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
    first = RECURRENT if mapped else {}
    return {**(first if order < 2 else SECOND), **(THIRD if order > 2 else {})}


def _needed(game: Game) -> bool:
    """Whether a game may call a function that is replaced: all but those made of plain layers of torch.nn."""
    if "may call replaced functions" not in game.memo:
        modules = getattr(game, "modules", None)
        if isinstance(modules, Mapping):
            plain = all(_is_plain(part) for module in modules.values() for part in module.modules())
        else:
            plain = type(game).__module__.startswith("detente.games.")
        game.memo["may call replaced functions"] = not plain
    return game.memo["may call replaced functions"]


def _is_plain(part: nn.Module) -> bool:
    """Whether a layer by itself, without those it holds, is known to call nothing that is replaced."""
    listed = type(part).__module__ in _PLAIN_FILES or type(part).__module__.startswith("detente.networks.")
    padded = any(getattr(part, "output_padding", ()))
    hooked = part._forward_pre_hooks or part._forward_hooks
    return listed and not padded and not hooked and not isinstance(part, _EXCEPTIONS)


def _normalizes_under_a_penalty(game: Game) -> bool:
    """Whether a penalty differentiates BatchNorm."""
    modules = getattr(game, "modules", None)
    if not (getattr(game, "penalties", ()) and isinstance(modules, Mapping) and "discriminator" in modules):
        return False
    return any(isinstance(part, _BatchNorm) for part in modules["discriminator"].modules())


class _Replaced(TorchFunctionMode):
    """Calls of some functions of torch go to others, where gradients are recorded."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        replacement = self.operations.get(func, func)
        return (replacement if torch.is_grad_enabled() else func)(*args, **(kwargs or {}))


def require_right_gradients(name: str, module: nn.Module) -> None:
    """Raise `InvalidValue` for a player with a layer whose first derivative torch gets wrong."""
    wrong = [type(part).__name__ for part in module.modules() if isinstance(part, nn.CrossMapLRN2d)]
    require(not wrong, name, wrong, "layers with right gradients", "torch.nn.LocalResponseNorm normalizes likewise")


def require_differentiable(game: Game, results: Iterable[Tensor], differentiable: bool) -> None:
    """Raise `InvalidValue` where results hang on a function that is marked with `once_differentiable`.

    Asked for gradients by name, torch does not raise its error for such a function: it leaves a term out. A game is
    looked at once for its losses, and once for its gradients that are differentiated.
    """
    checked = game.memo.setdefault("checked for once_differentiable", set())
    if differentiable in checked:
        return
    visited: set[object] = set()
    waiting = [result.grad_fn for result in results]
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if node.name() == "DelayedError":
            raise InvalidValue(type(game).__name__, "a function marked with @once_differentiable", _OFTEN, _LOWER)
        waiting += [before for before, _ in node.next_functions]
    checked.add(differentiable)


@contextmanager
def refusing(game: Game) -> Iterator[None]:
    """Derivatives that torch lacks raise `InvalidValue` within.

    Raises:
        InvalidValue: a layer cannot be differentiated as often as the method needs, or not be mapped.
    """
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        first = str(error).partition("\n")[0]
        if lacking := _LACKING.search(first):
            value = next((name for name in lacking.groups() if name), first)
            raise InvalidValue(type(game).__name__, value, _OFTEN, _LOWER) from error
        if _MAPPING.search(first):
            allowed = "layers that torch.vmap can map over samples or seeds, as this method does"
            raise InvalidValue(type(game).__name__, first, allowed, "The field `consensus` asks for less") from error
        raise
