"""Checkpoints: the state and random generator of every seed in one file, written atomically.

Where ranks divide memory, each rank after the first first writes its parts to its own file, `step….rank1of4`. The
checkpoint is complete when the file of rank 0, which is renamed last, exists.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from detente.errors import InvalidValue
from detente.modules.layout import Layout
from detente.state import State
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run

FORMAT = "detente-checkpoint-1"
STATISTICS = ("seconds", "diverged_at", "cause", "stopped_at", "best", "waited")  # of a `Progress`, besides its tensors
FILES_KEPT = 2  # the last one, and the previous one in case the last is damaged


@dataclass(frozen=True)
class Division:
    """How ranks divide a checkpoint.

    Args:
        count: number of ranks.
        names: names, in a state, of the tensors that are divided among ranks.
        mark: an identifier that is the same in all files of one checkpoint, and in no other.
    """

    count: int
    names: frozenset[str]
    mark: str


def save(
    folder: Path,
    progress: Sequence[Progress],
    layouts: Mapping[str, Layout] | None = None,
    division: Division | None = None,
) -> Path:
    """Write a checkpoint of all seeds into `folder`, and remove old ones.

    The file is written under a temporary name, synced and renamed, so the last complete checkpoint is never lost.

    Args:
        folder: the folder.
        progress: the progress of every seed.
        layouts: layout of the vector of each player, so that a run with another game can name its parameters.
        division: how ranks divide the checkpoint; `progress` is then what rank 0 holds, and the others have called
            `save_part`.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    seeds = {}
    for entry in progress:
        tensors |= {f"{entry.seed}/state/{key}": t.cpu().contiguous() for key, t in entry.state.flat().items()}
        tensors[f"{entry.seed}/random"] = entry.random
        seeds[entry.seed] = {name: getattr(entry, name) for name in STATISTICS}
    path = _path(folder, progress)
    step = step_of(path)
    shapes = {player: dict(zip(layout.names, layout.shapes, strict=True)) for player, layout in (layouts or {}).items()}
    metadata = {"format": FORMAT, "step": str(step), "seeds": json.dumps(seeds), "layouts": json.dumps(shapes)}
    if division is not None:
        divided = [key for key in tensors if key.partition("/state/")[2] in division.names]
        metadata |= {"ranks": str(division.count), "divided": json.dumps(divided), "mark": division.mark}
    _write(path, tensors, metadata)
    _sync(folder)
    for old in files(folder)[:-FILES_KEPT]:
        old.unlink(missing_ok=True)
    for part in folder.glob("step*.rank*"):
        if not part.with_suffix(".safetensors").exists():
            part.unlink(missing_ok=True)
    return path


def save_part(folder: Path, progress: Sequence[Progress], rank: int, division: Division) -> None:
    """Write the parts of a rank other than 0, before rank 0 calls `save`.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    flat = {f"{e.seed}/state/{n}": t for e in progress for n, t in e.state.flat().items() if n in division.names}
    tensors = {key: tensor.cpu().contiguous() for key, tensor in flat.items()}
    _write(_part(_path(folder, progress), rank, division.count), tensors, {"mark": division.mark})
    _sync(folder)


def _path(folder: Path, progress: Sequence[Progress]) -> Path:
    return folder / f"step{max(entry.step for entry in progress):09d}.safetensors"


def _part(path: Path, rank: int, count: int) -> Path:
    return path.with_suffix(f".rank{rank}of{count}")


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(_copy_shared(tensors), temporary, metadata)
        _sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):  # raised when the disk is full
            raise OSError(str(error)) from error
        raise


def load(folder: Path, run: Run) -> tuple[Progress, ...]:
    """Return the progress of every seed from the last complete checkpoint in a folder.

    Raises:
        InvalidValue: there is no complete checkpoint, or it belongs to another game, method or set of seeds.
    """
    reasons = []
    for path in reversed(files(folder)):
        try:
            return read(path, run)
        except InvalidValue:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            reasons.append(f"{path.name}: {error}")
    raise InvalidValue("checkpoint", str(folder), "a folder with a complete checkpoint", "; ".join(reasons))


def read(path: Path, run: Run) -> tuple[Progress, ...]:
    """Return the progress of every seed from one checkpoint file.

    Raises:
        InvalidValue: the file is not a checkpoint of détente, or belongs to another game, method or set of seeds.
        SafetensorError, ValueError, KeyError, TypeError: the file is damaged.
    """
    tensors, metadata = read_tensors(path)
    seeds = json.loads(metadata["seeds"])
    if set(seeds) != set(map(str, run.seeds)):
        raise InvalidValue("checkpoint", f"{path} of seeds {', '.join(seeds)}", f"one of seeds {run.seeds}")
    return tuple(_progress(path, run, seed, tensors, seeds[str(seed)]) for seed in run.seeds)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return all tensors of a checkpoint, whole, and its metadata.

    Raises:
        InvalidValue: the file is not a checkpoint of détente.
        SafetensorError, OSError, ValueError, KeyError: the file, or one of another rank's, is damaged or missing.
    """
    metadata = _metadata(path)
    if metadata.get("format") != FORMAT:
        raise InvalidValue("checkpoint", str(path), f"a file of format {FORMAT}, as `detente train` writes")
    parts = [load_file(path)]
    for rank in range(1, int(metadata.get("ranks", "1"))):
        part = _part(path, rank, int(metadata["ranks"]))
        if _metadata(part).get("mark") != metadata["mark"]:
            raise ValueError(f"{part.name} is of another checkpoint")
        parts.append(load_file(part))
    divided = set(json.loads(metadata.get("divided", "[]")))
    # Copied, so that the tensors are aligned in memory: sums over unaligned tensors round differently.
    tensors = {
        name: torch.cat([part[name] for part in parts]) if name in divided else tensor.clone()
        for name, tensor in parts[0].items()
    }
    return tensors, metadata


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def files(folder: Path) -> list[Path]:
    """Return the checkpoint files in a folder, oldest first."""
    return sorted(folder.glob("step*.safetensors"))


def step_of(path: Path) -> int:
    """Return the step of a checkpoint file."""
    return int(path.stem.removeprefix("step"))


def _progress(path: Path, run: Run, seed: int, tensors: dict[str, Tensor], metadata: dict) -> Progress:
    initial = initial_progress(run, seed, warm_start=False)
    prefix = f"{seed}/state/"
    tensors_of_seed = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    expected = initial.state.flat()
    mismatched = [
        key
        for key in sorted(expected.keys() | tensors_of_seed.keys())
        if key not in tensors_of_seed
        or key not in expected
        or _shape_and_dtype(tensors_of_seed[key]) != _shape_and_dtype(expected[key])
    ]
    if mismatched:
        hint = f"{mismatched[0]} differs"
        raise InvalidValue("checkpoint", str(path), "one of the same game, networks and method", hint)
    on_device = {key: tensors_of_seed[key].to(expected[key].device) for key in expected}
    state = State.from_flat(on_device, initial.state)
    statistics = {name: metadata[name] for name in STATISTICS if name in metadata}  # an older file lacks some
    return Progress(seed, state, tensors[f"{seed}/random"], **statistics)


def _shape_and_dtype(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _copy_shared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, with copies of those that share memory, as safetensors requires."""
    storages: set[int] = set()
    return {
        key: t.clone() if t.data_ptr() in storages or storages.add(t.data_ptr()) else t for key, t in tensors.items()
    }


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
