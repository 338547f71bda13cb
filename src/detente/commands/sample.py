"""`detente sample`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from detente import configuration
from detente.commands.display import console
from detente.errors import InvalidValue, require
from detente.games.adversarial import Adversarial
from detente.option_help import Words
from detente.report.scatter import scatter_picture
from detente.training.snapshot import image_grid

DESCRIPTION = "Draw samples from a trained generator into a picture."
EXAMPLES = "examples:\n  detente sample runs/digits --n 64 --out grid.png"


def main(words: Sequence[str]) -> int:
    """Write the picture, and return the exit status."""
    parser = Words("sample", DESCRIPTION, EXAMPLES)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--n", type=int, default=64, help="how many samples (default: 64)")
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help="picture to write (default: samples.png)")
    parser.add_argument("--seed", type=int, help="whose generator, of the run's seeds (default: the first)")
    parser.add_argument("--latents", type=int, default=0, help="seed of the latents (default: 0)")
    options = parser.parse_args(words)
    require(options.n >= 1, "n", options.n, "an integer ≥ 1")
    run, trained = configuration.trained(options.run, options.seed)
    game = run.game
    if not isinstance(game, Adversarial):
        raise InvalidValue("run", str(options.run), "a run of a game with a generator")
    samples = game.sample(
        run.method.scheme.evaluated(trained.state), options.n, torch.Generator().manual_seed(options.latents)
    )
    try:
        if len(game.data.shape) == 3:
            image_grid(samples).save(options.out)
        else:
            require(game.data.shape == (2,), "run", game.data.shape, "images, or points in the plane")
            real = game.data.draw(options.n, torch.Generator().manual_seed(options.latents))["real"]
            scatter_picture(samples.cpu().numpy(), real.numpy(), options.out)
    except (OSError, ValueError) as error:
        raise InvalidValue(
            "out", str(options.out), "a picture's name, such as grid.png, where one can write", str(error)
        ) from error
    console.print(f"{options.out}: {options.n} samples of seed {trained.seed} at step {trained.step}", soft_wrap=True)
    return 0
