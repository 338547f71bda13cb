"""Why a run diverged: the first loss or term that is not finite, and the layer in which it began."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from detente.game import Game
from detente.nested import tensors_of
from detente.ranks import Ranks, together
from detente.state import Info
from detente.training.distributed import everyones
from detente.training.drawing import RandomInputs
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.step import Draw, Steps

SECONDS = 20.0  # the longest repetition of steps that seeks the layer


def cause(run: Run, start: Progress, end: Progress, info: Info, ranks: Ranks | None = None) -> str:
    """Return what stopped being finite first, e.g. "model.perceptual is nan; first in layer model.decoder.3".

    The layer is found by repeating the steps since `start`, if they are short. Where the order of the data is not
    restored, they use other batches, and no layer is named if they do not diverge.

    Args:
        run: the training run.
        start: progress of the seed at the last tick.
        end: its progress after it diverged.
        info: statistics of the last steps, stacked over the steps, in which it diverged.
        ranks: the ranks that train the run together, which repeat the steps together.
    """
    term = first_term(info, int((~info.finite).int().argmax()))
    steps = (end.diverged_at or end.step) - start.step
    seconds = (end.seconds - start.seconds) * steps / max(1, end.step - start.step)
    if not term or seconds > SECONDS or getattr(getattr(run.game, "batches", None), "once", False):
        return term
    location = _repeated(run, start, steps, ranks)
    return f"{term}; {location}" if location else term


def first_term(info: Info, step: int) -> str:
    """Return the first term, loss or gradient of a step that is not finite, in the order in which players move."""
    for player, loss in info.losses.items():
        named = {f"{player}.{name}": term for name, term in info.terms.get(player, {}).items()}
        named |= {player: loss, f"the gradient of {player}": info.gradient_norm[player]}
        for name, values in named.items():
            if not bool(values[step].isfinite()):
                return f"{name} is {_word(values[step])}"
    return ""


@torch.no_grad()
def _repeated(run: Run, start: Progress, count: int, ranks: Ranks | None) -> str:
    """Take up to `count` steps from `start` again; return where a value that is not finite is computed first."""
    game = run.game.with_settings(run.settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the order of the data
        inputs = RandomInputs(run, start, None, ranks)
    steps, state = Steps(game, run.method), start.state
    for _ in range(count):
        with together(ranks), _first_layer(game) as layers:
            state = run.method.prepare(game, state, inputs.generator)
            (step_draw,), _ = inputs.take(state, 1)
            (state,), (info,) = steps([state], [[step_draw]])
        if not bool(info.finite.all()):
            places = everyones(_not_finite(step_draw, layers), ranks)
            return next(filter(None, places), "the output of every layer is finite")
    return ""


def _not_finite(step_draw: Draw, layers: Sequence[str]) -> str:
    """Return what is not finite first in this rank's part of a step; empty if nothing is."""
    for name, tensor in ((name, tensor) for batch in step_draw.batches for name, tensor in batch.items()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return f"the batch's {name} is not finite"
    return f"first in layer {layers[0]}" if layers else ""


@contextmanager
def _first_layer(game: Game) -> Iterator[list[str]]:
    """Yield a list that gets the name of the first layer whose output is not finite."""
    names: dict[nn.Module, str] = {}
    helpers = [value for value in game.evaluation_memo.values() if isinstance(value, Mapping)]  # frozen modules
    for modules in (getattr(game, "modules", {}), *helpers):
        for player, module in modules.items():
            for path, part in module.named_modules() if isinstance(module, nn.Module) else ():
                names.setdefault(part, f"{player}.{path}" if path else str(player))
    layers: list[str] = []

    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        del inputs
        tensors = [x for x in tensors_of(output) if x.is_floating_point()]
        if not layers and module in names and not all(bool(x.isfinite().all()) for x in tensors):
            layers.append(names[module])

    handle = register_module_forward_hook(watch)
    try:
        yield layers
    finally:
        handle.remove()


def _word(value: Tensor) -> str:
    return "nan" if bool(value.isnan()) else "infinite"
