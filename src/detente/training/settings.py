"""Check that a game and a method support evaluation settings other than the defaults."""

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
    """Raise `InvalidValue` if a game or a method does not support the settings."""
    changed = {name: value for name, value in asdict(settings).items() if value != getattr(DEFAULT, name)}
    changed = {name: value for name, value in changed.items() if name in CHECKED}
    if not changed:
        return
    name = type(game).__name__
    for field in ("precision", "channels_last"):
        is_supported = field not in changed or bool(getattr(game, "modules", None))
        require(
            is_supported, field, changed.get(field), f"{getattr(DEFAULT, field)!r} for {name}, which has no networks"
        )
    allowed = f"1 … {game.batch}, the batch size of {name}"
    require(settings.accumulate <= game.batch, "accumulate", settings.accumulate, allowed)
    if method.field.batches(game) > 1:  # reads the whole data set, which takes too long for a trial
        return
    for field, value in changed.items():
        _try_setting(game, method, field, value, size=game.batch // settings.accumulate)


def _same_losses(game: Game, changed_game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> bool:
    """Return whether the losses are bitwise equal with other settings, which means that the game ignores them."""
    losses, changed = (evaluated.losses(vectors, buffers, batch)[0] for evaluated in (game, changed_game))
    return all(torch.equal(losses[name], changed[name]) for name in losses)


def _try_setting(game: Game, method: Method, name: str, value: Any, size: int) -> None:
    """Evaluate the field on a few samples with one setting, because support depends on the derivatives that it takes.

    Raises:
        InvalidValue: the setting `name` is not supported; the error gives the reason.
    """
    generator, size = torch.Generator().manual_seed(0), min(2, size)  # samples in each of two parts
    vectors, buffers = game.initial(generator)
    device = next(iter(vectors.values())).device  # the modules may be on another device than the generator
    batch = {key: tensor.to(device) for key, tensor in game.draw(generator).items()}
    batch = game.with_step(batch, torch.zeros((), dtype=torch.int64, device=device))
    few_samples = {key: tensor[: 2 * size] if tensor.dim() else tensor for key, tensor in batch.items()}
    memory = method.field.initial(game, vectors, buffers)
    changed_game = game.with_settings(replace(DEFAULT, **{name: 2 if name == "accumulate" else value}))
    try:
        field = method.field.at(torch.zeros((), dtype=torch.int64, device=device))
        field(changed_game, vectors, buffers, few_samples, memory, game.players)
        unchanged = name == "precision" and _same_losses(game, changed_game, vectors, buffers, few_samples)
        hint = "Its `losses` must pass `settings=self.evaluation_settings` to each `detente.modules.call`"
        dtypes = {str(vector.dtype) for vector in vectors.values()}
        if dtypes != {"torch.float32"}:
            hint = f"It reduces the precision of float32 networks; these are {', '.join(sorted(dtypes))}"
        require(not unchanged, name, value, f"{getattr(DEFAULT, name)!r} for {type(game).__name__}", hint)
    except InvalidValue as error:
        raise InvalidValue(name, value, error.allowed, error.hint) from error
    except Exception as error:  # e.g. BatchNorm with one sample per part, or `view` on channels-last images
        allowed = f"{getattr(DEFAULT, name)!r}, or networks that support it"
        raise InvalidValue(name, value, allowed, str(error).partition("\n")[0]) from error


def require_device(device: str | torch.device) -> None:
    """Raise `InvalidValue` unless this machine has a device."""
    allowed = "'cpu'" + ("".join(f", 'cuda:{i}'" for i in range(torch.cuda.device_count())))
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InvalidValue("device", device, f"{allowed} on this machine") from error
