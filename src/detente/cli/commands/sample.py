"""`detente sample`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from detente.cli import recorded_runs
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.errors import InvalidValue, require
from detente.games.adversarial import Adversarial
from detente.report.scatter import scatter_picture
from detente.training.progress import Progress
from detente.training.run_directory.snapshot import image_grid

RANK = 70
DESCRIPTION = "Draw samples from a trained generator: numbers into a file, or images and points into a picture."
EXAMPLES = """\
examples:
  detente sample runs/digits --n 64 --out grid.png
  detente sample runs/mine --n 10000 --out samples.npy
"""
NUMBERS: dict[str, Callable[[Path, Tensor], None]] = {
    ".npy": lambda path, samples: np.save(path, samples.numpy()),
    ".npz": lambda path, samples: np.savez_compressed(path, samples=samples.numpy()),
    ".csv": lambda path, samples: np.savetxt(path, samples.flatten(1).numpy(), delimiter=","),
    ".pt": lambda path, samples: torch.save(samples, path),
    ".safetensors": lambda path, samples: save_file({"samples": samples.contiguous()}, path),
}
FORMATS = f"a picture's name, such as grid.png, or a file of numbers: {', '.join(NUMBERS)}"


def main(words: Sequence[str]) -> int:
    """Write the samples, and return the exit status."""
    parser = Parser("sample", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "run directory")
    parser.add("--n", int, "number of samples (default: 64)", 64)
    text = f"file to write: {FORMATS} (default: samples.png for images and points in the plane, otherwise samples.npy)"
    parser.add("--out", Path, text, None)
    parser.add("--seed", int, "one of the run's seeds (default: the first)", None)
    parser.add("--latents", int, "seed of the latents (default: 0)", 0)
    parser.add("--step", int, "from the checkpoint of this step (default: the last)", None)
    options = parser.parse(words)
    require(options.n >= 1, "n", options.n, "an integer ≥ 1")
    run, trained = recorded_runs.trained(options.run, options.seed, options.step)
    game = run.game
    if not isinstance(game, Adversarial):
        raise InvalidValue("run", str(options.run), "a run of a game with a generator")
    _require_finite(options.run, trained)
    shape = game.data.shape
    drawable = len(shape) == 3 or shape == (2,)
    out = options.out or Path("samples.png" if drawable else "samples.npy")
    if not drawable and out.suffix.lower() not in NUMBERS:
        raise InvalidValue("out", str(out), f"a file of numbers, {', '.join(NUMBERS)}, for samples of shape {shape}")
    generator = torch.Generator().manual_seed(options.latents)
    samples = game.sample(run.method.scheme.eval_state(trained.state), options.n, generator).cpu()
    try:
        if out.suffix.lower() in NUMBERS:
            NUMBERS[out.suffix.lower()](out, samples)
        elif len(shape) == 3:
            image_grid(samples).save(out)
        else:
            real = game.data.draw(options.n, torch.Generator().manual_seed(options.latents))["real"]
            scatter_picture(samples.numpy(), real.numpy(), out)
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidValue("out", str(out), f"{FORMATS}, that can be written", str(error)) from error
    console.print(f"{out}: {options.n} samples of seed {trained.seed} at step {trained.step}", soft_wrap=True)
    return 0


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
