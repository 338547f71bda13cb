"""Whether ranks can share a game's batches: samples may interact in BatchNorm, but in no undetected way."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from detente.autodiff import vector_field
from detente.errors import InvalidValue
from detente.game import Batch, Game, Vectors
from detente.ranks import Ranks, rows, together

ROWS = 12  # of a rank; a discriminator of packed samples divides it by 2, 3 or 4
APART = 1e-3  # relative difference; rounding is below 1e-5, minibatch discrimination was 5e-2


def check_mixing(game: Game, ranks: Ranks | None) -> None:
    """Compare the field of a few samples in one process with that of all ranks; all ranks must call it.

    Layers that draw random numbers draw different ones on each rank; then nothing is compared, and a warning says so.

    Raises:
        InvalidValue: the fields differ by more than 0.1 %, unless `ranks.inexact`, or the batch cannot be divided.
    """
    if ranks is None or ranks.count == 1:
        return
    generator = torch.Generator().manual_seed(0)
    game = game.with_settings(replace(game.evaluation_settings, precision="float32", accumulate=1))
    vectors, buffers = game.initial(generator)
    vectors = {name: _moved(vector, generator) for name, vector in vectors.items()}
    device = next(iter(vectors.values())).device
    batch = {name: tensor.to(device) for name, tensor in game.draw(generator).items()}
    size = max((len(rank_rows) for rank_rows in rows(batch, ranks).values() if rank_rows.dim()), default=0)
    if "seed" in batch:
        warnings.warn("layers draw random numbers, such as dropout's: each rank draws its own", stacklevel=2)
        return

    def apart(count: int) -> tuple[float, str]:
        # As many different parts as the least divisor of R; several ranks then evaluate the same part.
        parts = next(number for number in range(2, ranks.count + 1) if ranks.count % number == 0)
        whole = {name: tensor[: parts * count] if tensor.dim() else tensor for name, tensor in batch.items()}
        rank_rows = rows(whole, Ranks(ranks.rank % parts, parts))
        with together(None):
            alone = vector_field(game, vectors, buffers, _with_step(game, whole, device)).field
        with together(replace(ranks, batch_norm="whole")):
            joint = vector_field(game, vectors, buffers, _with_step(game, rank_rows, device)).field
        return max((_distance(joint, alone, name), name) for name in game.players)

    try:
        distance, player = apart(min(ROWS, size))
    except InvalidValue:  # a module that needs other numbers of samples
        distance, player = apart(size)
    if not distance <= APART:
        text = f"The gradient of {player} differs by {100 * distance:.2g} % from that of one process: samples mix"
        if ranks.inexact:
            if ranks.rank == 0:
                warnings.warn(f"{text} among each rank's rows only", stacklevel=2)
            return
        allowed = "1, or a game whose samples mix only in BatchNorm"
        hint = "Use `detente.batch_mean(…)` for a statistic of the batch in a loss; --inexact allows the difference"
        raise InvalidValue("ranks", ranks.count, allowed, f"{text} other than by BatchNorm. {hint}")


def _moved(vector: Tensor, generator: torch.Generator) -> Tensor:
    """Return a vector near the initial one, where a network may be zero, and so may terms that matter later."""
    size = float(vector.square().mean().sqrt())
    return vector + 0.1 * (size or 1.0) * torch.randn(vector.shape, generator=generator, dtype=vector.dtype).to(vector)


def _with_step(game: Game, batch: Batch, device: torch.device) -> Batch:
    return game.with_step(batch, torch.zeros((), dtype=torch.int64, device=device))


def _distance(joint: Vectors, alone: Vectors, player: str) -> float:
    norm = float(alone[player].norm())
    difference = float((joint[player] - alone[player]).norm())
    return difference / norm if norm else difference
