"""What several ranks check and share before their first step."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from detente.errors import InvalidValue
from detente.game import Game
from detente.methods.method import Method
from detente.methods.sharding import sharded
from detente.ranks import Ranks
from detente.state import State
from detente.training.distributed import agreed, alone, by_first, everyones, everywhere, of_first, require_device
from detente.training.mixing import check_mixing
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run
from detente.training.run_directory.provenance import describe_data, provenance
from detente.training.step import rows_to_read

SMALL = 300_000  # parameters; two ranks of a game of 2,000 took 11 times as long as one process


def require_ranks_fit(run: Run, ranks: Ranks) -> None:
    """Raise `InvalidValue` on all ranks if they cannot share a run; warn, on rank 0, if that is slow or not exact.

    They can if each has its own device, all have the same data, the batch is a multiple of their number, and
    samples do not interact in ways that ranks cannot detect.
    """
    everywhere(lambda: require_device(run.device), ranks)
    _require_same_data(run.game, ranks)
    require_divisible(run.game.with_settings(run.settings), run.method, ranks)
    if ranks.rank > 0:
        return
    vectors, _ = run.game.initial(torch.Generator())
    count = sum(vector.numel() for vector in vectors.values())
    if count <= SMALL:
        text = f"{count:,} parameters are few for {ranks.count} ranks: messages take longer than they save"
        warnings.warn(f"{text}; give each process another seed instead", stacklevel=2)


def require_divisible(game: Game, method: Method, ranks: Ranks | None) -> None:
    """Raise `InvalidValue` on all ranks if they cannot divide a batch or the memory; all ranks must call it."""
    try:
        if ranks is not None and ranks.shard and ranks.count > 1:
            for optimizer in method.optimizers(game.players).values():
                sharded(optimizer, ranks)
        read = rows_to_read(game, method, ranks)
        if any(rows is not None and 0 < len(rows) < game.batch for rows in read):  # else each has whole batches
            check_mixing(game, ranks)
    except InvalidValue as error:
        raise agreed(error) from None


def _require_same_data(game: Game, ranks: Ranks) -> None:
    """Raise `InvalidValue` on all ranks if one has other data than rank 0, or networks with other code."""
    origins = everyones(everywhere(lambda: provenance(game), ranks), ranks)
    for rank, origin in enumerate(origins):
        for name in ("data", "code"):
            value, first = ([part.get(name)] for part in (origin, origins[0]))
            if value != first:
                value, first = (describe_data(x[0]) if isinstance(x[0], dict) else x[0] for x in (value, first))
                raise agreed(
                    InvalidValue(name, f"{value} on rank {rank}", f"the same on every rank; rank 0 has {first}")
                )


def progress_of_first(progress: Sequence[Progress], ranks: Ranks | None) -> tuple[Progress, ...]:
    """Return rank 0's progress on every rank, so that only rank 0 needs its checkpoint or its initial parameters.

    Args:
        progress: the progress of every seed on this rank; on ranks other than 0, only its shapes and devices matter.
        ranks: the ranks.
    """
    if alone(ranks):
        return tuple(progress)
    plain = by_first(lambda: [replace(entry, state=None) for entry in progress], ranks)  # pyright: ignore
    same = everyones([shapes(entry.state) for entry in progress], ranks)
    for rank, shapes_of_rank in enumerate(same):
        if shapes_of_rank != same[0]:
            allowed = "the same networks and the same method on every rank"
            raise agreed(InvalidValue("game", f"tensors of other names or shapes on rank {rank}", allowed))
    states = [State.from_flat(of_first(entry.state.flat(), ranks), entry.state) for entry in progress]
    return tuple(replace(entry, state=state) for entry, state in zip(plain, states, strict=True))


def progress_of_rank(run: Run, progress: Sequence[Progress], ranks: Ranks | None) -> tuple[Progress, ...]:
    """Return what one rank holds of the progress of every seed."""
    return tuple(replace(entry, state=run.method.state_of_rank(entry.state, ranks)) for entry in progress)


def whole_progress(run: Run, progress: Sequence[Progress], ranks: Ranks | None) -> tuple[Progress, ...]:
    """Return the progress that one process would have, from what each rank holds of it; all ranks must call it."""
    return tuple(replace(entry, state=run.method.whole_state(entry.state, ranks)) for entry in progress)


def evaluated_progress(run: Run, progress: Sequence[Progress], ranks: Ranks | None) -> tuple[Progress, ...]:
    """Return a progress that rank 0 can evaluate: whole where ranks divide memory, and then all ranks must call it."""
    return whole_progress(run, progress, ranks) if ranks is not None and ranks.shard else tuple(progress)


def shapes(state: State) -> list[tuple[str, tuple[int, ...], str]]:
    """Return the name, the shape and the dtype of each tensor of a state."""
    return [(name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in state.flat().items()]


def divided_names(run: Run, ranks: Ranks) -> frozenset[str]:
    """Return the names in a state of the tensors that ranks divide among them."""
    whole = initial_progress(run, run.seeds[0], warm_start=False).state
    part = run.method.state_of_rank(whole, replace(ranks, rank=ranks.count - 1)).flat()  # the shortest
    return frozenset(name for name, tensor in whole.flat().items() if tensor.shape != part[name].shape)


def leaves(progress: Sequence[Progress], without: Collection[str] = ()) -> dict[str, Tensor]:
    """Return all tensors of a progress by a name that says where they are, for `require_alike`.

    Args:
        progress: the progress.
        without: names in a state of the tensors to leave out, which differ between ranks.
    """
    named = ((entry.seed, name, tensor) for entry in progress for name, tensor in entry.state.flat().items())
    tensors = {f"{name} (seed {seed})": tensor for seed, name, tensor in named if name not in without}
    return tensors | {f"the random generator (seed {e.seed})": e.random for e in progress}
