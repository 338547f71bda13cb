"""`detente sample`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detente.cli import recorded_runs
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.errors import InvalidValue, require

if TYPE_CHECKING:
    from torch import Tensor

    from detente.games.networks import Networks
    from detente.training.progress import Progress

RANK = 70
DESCRIPTION = "Draw samples from a trained generator: numbers into a file, or images and points into a picture."
EXAMPLES = """\
examples:
  detente sample runs/digits --n 64 --out grid.png
  detente sample runs/mine --n 10000 --out samples.npy
"""
NUMBERS = (".npy", ".npz", ".csv", ".pt", ".safetensors")
FORMATS = f"a picture's name, such as grid.png, or a file of numbers: {', '.join(NUMBERS)}"


def main(words: Sequence[str]) -> int:
    """Write the samples, and return the exit status."""
    parser = Parser("sample", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "run directory")
    parser.add("--n", int, "number of samples (default: 64)", 64)
    text = f"file to write: {FORMATS}, or .wav for sound "
    text += "(default: samples.png for images and points in the plane, samples.wav for sound, otherwise samples.npy)"
    parser.add("--out", Path, text, None)
    parser.add("--seed", int, "one of the run's seeds (default: the first)", None)
    parser.add("--latents", int, "seed of the latents (default: 0)", 0)
    parser.add("--step", int, "from the checkpoint of this step (default: the last)", None)
    options = parser.parse(words)
    require(options.n >= 1, "n", options.n, "an integer ≥ 1")
    import torch

    from detente.games.networks import Networks
    from detente.report.scatter import scatter_picture
    from detente.training.run_directory.snapshot import image_grid, write_sound

    run, trained = recorded_runs.trained(options.run, options.seed, options.step)
    game = run.game
    if not isinstance(game, Networks):
        raise InvalidValue("run", str(options.run), "a run of a game with a generator, or of Networks(…, show=…)")
    _require_finite(options.run, trained)
    generator = torch.Generator().manual_seed(options.latents)
    samples = game.sample(run.method.scheme.eval_state(trained.state), options.n, generator).cpu()
    shape = tuple(samples.shape[1:])
    default = "samples.png" if len(shape) == 3 or shape == (2,) else "samples.wav" if len(shape) == 2 else "samples.npy"
    out = options.out or Path(default)
    suffix = out.suffix.lower()
    if default != "samples.png" and suffix not in (*NUMBERS, Path(default).suffix):
        raise InvalidValue("out", str(out), f"a file of numbers, {', '.join(NUMBERS)}, for samples of shape {shape}")
    try:
        if suffix in NUMBERS:
            _write_numbers(out, samples)
        elif suffix == ".wav":
            write_sound(out, samples)
        elif len(shape) == 3:
            image_grid(samples).save(out)
        else:
            real = _real_points(game, options.n, options.latents)
            scatter_picture(samples.numpy(), real.numpy(), out)
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidValue("out", str(out), f"{FORMATS}, that can be written", str(error)) from error
    console.print(f"{out}: {options.n} samples of seed {trained.seed} at step {trained.step}", soft_wrap=True)
    return 0


def _write_numbers(path: Path, samples: Tensor) -> None:
    """Write samples to a file of one of the formats `NUMBERS`."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    match path.suffix.lower():
        case ".npy":
            np.save(path, samples.numpy())
        case ".npz":
            np.savez_compressed(path, samples=samples.numpy())
        case ".csv":
            np.savetxt(path, samples.flatten(1).numpy(), delimiter=",")
        case ".pt":
            torch.save(samples, path)
        case _:
            save_file({"samples": samples.contiguous()}, path)


def _real_points(game: Networks, count: int, seed: int) -> Tensor:
    """Return real points in the plane, (count, 2); none if the data are no points."""
    import torch

    from detente.data.base import Data

    if isinstance(game.data, Data) and game.data.shape == (2,):
        return game.data.draw(count, torch.Generator().manual_seed(seed))["real"]
    return torch.empty(0, 2)


def _require_finite(directory: Path, trained: Progress) -> None:
    """Raise `InvalidValue` if parameters are not finite."""
    if all(bool(vector.isfinite().all()) for vector in trained.state.vectors.values()):
        return
    at = "" if trained.diverged_at is None else f", which diverged at step {trained.diverged_at}"
    run = f"{directory}, seed {trained.seed}{at}"
    raise InvalidValue("run", run, "a run with finite parameters", _finite_checkpoint(directory, trained))


def _finite_checkpoint(directory: Path, trained: Progress) -> str:
    """Return a hint that names the last finite checkpoint of the same seed, if there is one."""
    for step in reversed(recorded_runs.checkpointed_steps(directory)):
        if step < trained.step:
            _, earlier = recorded_runs.trained(directory, trained.seed, step)
            if all(bool(vector.isfinite().all()) for vector in earlier.state.vectors.values()):
                return f"The checkpoint of step {step} is finite: --step {step}"
    return "No earlier checkpoint is finite either; a smaller learning rate may help"
