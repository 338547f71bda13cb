"""Noisy discriminator gradients, figure 1: a mixture with and without noise that has the samples' covariance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, at_least, below
from detente.experiments.support.noise_level import noise_decay
from detente.experiments.support.resumable_training import train_or_resume
from detente.fields.gradient import Gradient
from detente.games import presets
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.schemes.alternating import Alternating
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By name: the objective and the method. `plain` is `needs_noise` without the noise.
ENTRIES: dict[str, tuple[str, Method]] = {
    "plain": (
        "non_saturating",
        Method(Gradient(), Alternating(), {"generator": Adam(1e-3), "discriminator": SGD(0.1)}),
    ),
    "noisy": ("non_saturating", methods.covariance_langevin()),
    "wgan": ("wasserstein", methods.wasserstein_clipping()),
}


class NoisyDiscriminator(Experiment):
    """With noise the generator covers the whole mixture; the noise decreases during training."""

    title = "A mixture with plain and with noisy discriminator gradients, and WGAN"
    paper = "NIPS 2017 submission on noisy, covariance-controlled discriminator gradients"
    figure = "figure 1"
    deviations = (
        "The paper gives no network, mixture, rate or batch: here the ring and networks of The Numerics of GANs.",
        "Noise is scaled by s = 1e-4, the default of `covariance_langevin`; the formula's s = 1 drowns the gradient.",
        "WGAN with clipping at the rates of its own paper.",
    )
    shared = ("steps", "level steps", "samples")
    sizes = {
        "smoke": {"steps": 30, "seeds": 2},
        "laptop": {"steps": 30_000, "seeds": 10},
        "paper": {"steps": 60_000, "seeds": 10},
    }
    claims = (
        Claim(
            "With noise more of the mixture is sampled: modes covered at the end, less those without noise",
            lambda findings: Estimate.difference(findings["noisy"]["modes"][:, -1], findings["plain"]["modes"][:, -1]),
            above(0),
            "the joint gets sampled fully (picture)",
        ),
        Claim(
            "With noise all modes are sampled: modes covered at the end",
            lambda findings: Estimate.median(findings["noisy"]["modes"][:, -1], "of 8 modes"),
            at_least(7.5),
            "all (picture)",
        ),
        Claim(
            "The injected noise falls over training: its level in the last tenth of training ÷ in the first",
            lambda findings: Estimate.median([noise_decay(level) for level in findings["noisy"]["level"]]),
            below(1),
            "drops (picture)",
        ),
        Claim(
            "More efficiently than WGAN: modes covered at the end, noisy less WGAN, at the same number of steps",
            lambda findings: Estimate.difference(findings["noisy"]["modes"][:, -1], findings["wgan"]["modes"][:, -1]),
            above(0),
            "more efficient (text)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train with each method; return modes covered, noise levels and the first seed's samples at three steps."""
        findings: Findings = {}
        steps = size["steps"]
        for name, (objective, method) in ENTRIES.items():
            game = presets.ring(objective=objective)
            run = Run(game, method, steps, size["seeds"], measure_every=max(1, steps // 15))
            training = train_or_resume(run, folder / name, track)
            evaluation_steps, modes = training.curve("modes_covered")
            plot_steps = [
                int(evaluation_steps[len(evaluation_steps) // 3]),
                int(evaluation_steps[2 * len(evaluation_steps) // 3]),
                int(evaluation_steps[-1]),
            ]
            findings[name] = {
                "steps": evaluation_steps,
                "modes": modes,
                "samples": {t: training.samples(run.seeds[0], t) for t in plot_steps},
            }
            if name == "noisy":
                findings[name]["level steps"], findings[name]["level"] = training.curve("noise_level", "extra")
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw samples at three steps, modes covered, and the noise level."""
        grid = figure.add_gridspec(3, 4, width_ratios=[1, 1, 1, 1.4])
        for row, (name, result) in enumerate(findings.items()):
            for column, (step, samples) in enumerate(result["samples"].items()):
                axes = figure.add_subplot(grid[row, column], aspect="equal", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
                axes.scatter(*samples["real"].T, s=1, color="C3", alpha=0.4)
                axes.scatter(*samples["fake"].T, s=1, color="C0", alpha=0.4)
                axes.set(xticks=[], yticks=[], title=f"step {step:,}", ylabel=name if column == 0 else "")
        axes = figure.add_subplot(grid[:2, 3], ylim=(0, 8.3), title="modes covered (mean over seeds)")
        for name, result in findings.items():
            axes.plot(result["steps"], result["modes"].mean(0), label=name)
        axes.legend(fontsize="small")
        axes = figure.add_subplot(grid[2, 3], yscale="log", title="noise level", xlabel="step")
        axes.plot(findings["noisy"]["level steps"], findings["noisy"]["level"].T, lw=0.8)
