"""Checkpoints: every seed's state and random generator in one file that is either whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from detente.errors import InvalidValue
from detente.state import State
from detente.training.progress import Progress, begin
from detente.training.run import Run

FORMAT = "detente-checkpoint-1"
KEPT = 2  # the last one, and the one before it should the disk damage the last


def save(folder: Path, progress: Sequence[Progress]) -> Path:
    """Write a checkpoint of all seeds into `folder`, and remove those no longer needed.

    Written to a temporary name, synced, renamed: whatever happens, the last whole checkpoint stays.

    Raises:
        OSError: the disk is full, or will not have it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    seeds = {}
    for seed_progress in progress:
        tensors |= {
            f"{seed_progress.seed}/state/{key}": t.cpu().contiguous() for key, t in seed_progress.state.flat().items()
        }
        tensors[f"{seed_progress.seed}/random"] = seed_progress.random
        seeds[seed_progress.seed] = {"seconds": seed_progress.seconds, "diverged_at": seed_progress.diverged_at}
    step = max(seed_progress.step for seed_progress in progress)
    path = folder / f"step{step:09d}.safetensors"
    temporary = path.with_suffix(".tmp")
    try:
        save_file(_unshared(tensors), temporary, {"format": FORMAT, "step": str(step), "seeds": json.dumps(seeds)})
        _sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):  # its way to say that the disk is full
            raise OSError(str(error)) from error
        raise
    _sync(folder)
    for old in files(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load(folder: Path, run: Run) -> tuple[Progress, ...]:
    """Return every seed's training from the last whole checkpoint of a folder.

    Raises:
        InvalidValue: there is none, or it belongs to another game, method or set of seeds.
    """
    reasons = []
    for path in reversed(files(folder)):
        try:
            return read(path, run)
        except InvalidValue:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            reasons.append(f"{path.name}: {error}")
    raise InvalidValue("checkpoint", str(folder), "a folder with a whole checkpoint", "; ".join(reasons))


def read(path: Path, run: Run) -> tuple[Progress, ...]:
    """Return every seed's training from one checkpoint file.

    Raises:
        InvalidValue: it is not one of ours, or belongs to another game, method or set of seeds.
        SafetensorError, ValueError, KeyError, TypeError: it is damaged.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise InvalidValue("checkpoint", str(path), f"a file of format {FORMAT}, as `detente train` writes")
    # Copied, so that tensors are aligned in memory as torch's own are: sums over unaligned ones round differently.
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    seeds = json.loads(metadata["seeds"])
    if set(seeds) != set(map(str, run.seeds)):
        raise InvalidValue("checkpoint", f"{path} of seeds {', '.join(seeds)}", f"one of seeds {run.seeds}")
    return tuple(_progress(path, run, seed, tensors, seeds[str(seed)]) for seed in run.seeds)


def files(folder: Path) -> list[Path]:
    """Return the checkpoint files of a folder, the oldest first."""
    return sorted(folder.glob("step*.safetensors"))


def step_of(path: Path) -> int:
    """Return the step of a checkpoint file."""
    return int(path.stem.removeprefix("step"))


def _progress(path: Path, run: Run, seed: int, tensors: dict[str, Tensor], metadata: dict) -> Progress:
    fresh = begin(run, seed)
    start = f"{seed}/state/"
    tensors_of_seed = {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}
    expected = fresh.state.flat()
    wrong = [
        key
        for key in sorted(expected.keys() | tensors_of_seed.keys())
        if key not in tensors_of_seed or key not in expected or _form(tensors_of_seed[key]) != _form(expected[key])
    ]
    if wrong:
        hint = f"{wrong[0]} differs"
        raise InvalidValue("checkpoint", str(path), "one of the same game, networks and method", hint)
    on_device = {key: tensors_of_seed[key].to(expected[key].device) for key in expected}
    state = State.from_flat(on_device, fresh.state)
    return Progress(seed, state, tensors[f"{seed}/random"], metadata["seconds"], metadata["diverged_at"])


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with those that share memory copied, which safetensors insists on."""
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
