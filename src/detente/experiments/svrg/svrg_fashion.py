"""SVRG-GAN, figure 8: images of garments with variance reduction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.class_statistics import (
    PLOT_TITLES,
    class_evaluator,
    evenly_spaced_steps,
    train_and_evaluate,
)
from detente.experiments.support.image_games import balanced_subset, dcgan_game
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.image_sets import default_device, load_image_set
from detente.experiments.support.interval_estimate import Estimate, above
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESENT = 0.02  # smallest share of samples at which a class counts as present


class SvrgFashion(Experiment):
    """SVRG-GAN learns to generate garments of all kinds."""

    title = "Fashion-MNIST: samples of SVRG-GAN"
    paper = "Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN"
    figure = "figure 8"
    deviations = (
        "GroupNorm of one group (each image by itself) in the place of BatchNorm, with which SVRG would not be right; "
        "a snapshot once an epoch.",
        "The paper shows samples and gives no number: classes are counted by a classifier (2 % of the samples).",
        "Laptop: 500 images instead of 60,000, 800 updates instead of 30,000, networks of width 8 instead of 64, "
        "latents of 32 numbers instead of 128, and a rate to suit them.",
    )
    sizes = {
        "smoke": {"set": "digits", "width": 2, "latent": 8, "images": 20, "batch": 5, "steps": 6, "seeds": 2}
        | {"rate": 0.1, "looks": 2, "samples": 50},
        "laptop": {"set": "fashion_mnist", "width": 8, "latent": 32, "images": 500, "batch": 50, "steps": 800}
        | {"seeds": 7, "rate": 0.03, "looks": 10, "samples": 1000},
        "paper": {"set": "fashion_mnist", "width": 64, "latent": 128, "images": None, "batch": 50, "steps": 30_000}
        | {"seeds": 3, "rate": 1e-4, "looks": 20, "samples": 5000},
    }
    claims = (
        Claim(
            "SVRG-GAN learns garments: score at the end, less at the first look",
            lambda findings: Estimate.difference(findings["score"][:, -1], findings["score"][:, 0]),
            above(0),
            "garments (picture)",
        ),
        Claim(
            "They are of many kinds: classes with 2 % of the samples at the end",
            lambda findings: Estimate.median((findings["shares"][:, -1] >= PRESENT).sum(1), "of 10 classes"),
            above(5),
            "most (picture)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train, and return class statistics during training."""
        data = load_image_set(size["set"])
        subset = balanced_subset(data, size["images"])
        game = dcgan_game(subset, size["width"], size["batch"], size["latent"], per_image_norm=True, fixed_latents=True)
        run = Run(game, methods.svrg(learning_rate=size["rate"]), seeds=size["seeds"], device=default_device())
        evaluate = class_evaluator(size["set"])
        return train_and_evaluate(
            run, folder / "svrg", evenly_spaced_steps(size["steps"], size["looks"]), evaluate, size["samples"], track
        )

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw each seed's final samples, and plot class statistics during training."""
        seeds = len(findings["images"])
        grid = figure.add_gridspec(2, 1, height_ratios=[1.2, 1])
        top, bottom = grid[0].subgridspec(1, seeds), grid[1].subgridspec(1, len(PLOT_TITLES))
        for seed in range(seeds):
            axes = figure.add_subplot(top[0, seed])
            show_grid(axes, torch.from_numpy(findings["images"][seed, -1]), 4, 6)
            axes.set_title(f"seed {seed}, update {findings['steps'][-1]:,}", fontsize="small")
        for column, (metric, title) in enumerate(PLOT_TITLES.items()):
            axes = figure.add_subplot(bottom[0, column], xlabel="updates")
            axes.plot(findings["steps"], findings[metric].T, lw=0.8)
            axes.set_title(title, fontsize="small")
