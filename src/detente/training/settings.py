"""Whether a game and a method can be evaluated with other settings than the usual ones."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch

from detente.errors import InvalidValue, require
from detente.game import Batch, Buffers, EvaluationSettings, Game, Vectors
from detente.methods.method import Method

DEFAULT = EvaluationSettings()
CHECKED = ("precision", "accumulate", "channels_last")


@torch.no_grad()
def require_supported(settings: EvaluationSettings, game: Game, method: Method) -> None:
    """Raise `InvalidValue` where a game or a method does not allow its settings, naming what does not fit."""
    changed = {name: value for name, value in asdict(settings).items() if value != getattr(DEFAULT, name)}
    changed = {name: value for name, value in changed.items() if name in CHECKED}
    if not changed:
        return
    name = type(game).__name__
    for field in ("precision", "channels_last"):
        fits = field not in changed or bool(getattr(game, "modules", None))
        require(fits, field, changed.get(field), f"{getattr(DEFAULT, field)!r} for {name}, which has no networks")
    allowed = f"1 … {game.batch}, the samples of a batch of {name}"
    require(settings.accumulate <= game.batch, "accumulate", settings.accumulate, allowed)
    if method.field.batches(game) > 1:  # it goes through the whole set, which is too long for a trial
        return
    for field, value in changed.items():
        _try(game, method, field, value, size=game.batch // settings.accumulate)


def _same_losses(game: Game, changed_game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> bool:
    """Whether a game's losses are the same bits with other settings, which it then ignores."""
    losses, changed = (each.losses(vectors, buffers, batch)[0] for each in (game, changed_game))
    return all(torch.equal(losses[name], changed[name]) for name in losses)


def _try(game: Game, method: Method, name: str, value: Any, size: int) -> None:
    """Evaluate the field on a few samples with one setting: it alone knows which derivatives it takes.

    Raises:
        InvalidValue: of the setting, called `name`, with the reason.
    """
    generator, size = torch.Generator().manual_seed(0), min(2, size)  # in each of two parts
    vectors, buffers = game.initial(generator)
    device = next(iter(vectors.values())).device  # the modules may be on another than the generator
    batch = {key: tensor.to(device) for key, tensor in game.draw(generator).items()}
    batch = game.with_step(batch, torch.zeros((), dtype=torch.int64, device=device))
    few_samples = {key: tensor[: 2 * size] if tensor.dim() else tensor for key, tensor in batch.items()}
    memory = method.field.initial(game, vectors, buffers)
    changed_game = game.with_settings(replace(DEFAULT, **{name: 2 if name == "accumulate" else value}))
    try:
        method.field(changed_game, vectors, buffers, few_samples, memory, game.players)
        unchanged = name == "precision" and _same_losses(game, changed_game, vectors, buffers, few_samples)
        hint = "Its `losses` must hand `settings=self.settings` to each `detente.modules.call`"
        require(not unchanged, name, value, f"{getattr(DEFAULT, name)!r} for {type(game).__name__}", hint)
    except InvalidValue as error:
        raise InvalidValue(name, value, error.allowed, error.hint) from error
    except Exception as error:  # BatchNorm refuses a part of one sample; a module calls `view` on channels-last images
        allowed = f"{getattr(DEFAULT, name)!r}, or networks that take it"
        raise InvalidValue(name, value, allowed, str(error).partition("\n")[0]) from error
