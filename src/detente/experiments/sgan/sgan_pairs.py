"""SGAN, figure 5: the global generator's log-likelihood against the number of local pairs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.sgan_toys import (
    DATA_DEVIATION,
    VANILLA_DEVIATION,
    ring_of_gaussians,
    toy_game,
    train_and_evaluate_pairs,
)
from detente.metrics.likelihood import LogLikelihood
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SGAN, SIMPLIFIED, REGULAR = "SGAN", "simplified SGAN", "regular GAN"


class SganPairs(Experiment):
    """More pairs help, the first ones most, and messengers matter."""

    title = "Log-likelihood on 8 Gaussians against the number of local pairs"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "figure 5"
    deviations = (
        DATA_DEVIATION,
        "The vanilla GAN: the paper does not say which of its variants this figure has.",
        "The regular GAN with N-fold updates takes N times as many steps, on new batches; figure 3 has it.",
        VANILLA_DEVIATION,
    )
    tried = (
        "An earlier regime, one turn of each discriminator and messenger at rate 3e-3 for at most 200 steps, left the "
        "global generator at one point, because a messenger that is cloned anew for a single turn adapts too little "
        "to it."
    )
    sizes = {
        "smoke": {
            "steps": 4,
            "pairs": (1, 2, 3),
            "seeds": 2,
            "turns": 1,
            "messengers": 2,
            "width": 16,
            "latent": 4,
            "batch": 16,
            "rate": 3e-3,
        },
        "laptop": {
            "steps": 300,
            "pairs": (2, 4, 8),
            "seeds": 8,
            "turns": 1,
            "messengers": 10,
            "width": 64,
            "latent": 16,
            "batch": 64,
            "rate": 1e-3,
        },
        "paper": {
            "steps": 20_000,
            "pairs": (2, 3, 5, 8, 10, 15),
            "seeds": 8,
            "turns": 1,
            "messengers": 10,
            "width": 512,
            "latent": 100,
            "batch": 256,
            "rate": 1e-5,
        },
    }
    shared = ("pairs", "folds")
    claims = (
        Claim(
            "SGAN is better than regular training, at the largest N",
            lambda findings: Estimate.difference(findings[SGAN][:, -1], findings[REGULAR][:, 0]),
            above(0),
            "higher (picture)",
        ),
        Claim(
            "SGAN is better than regular training in most trainings: share of seeds, at the largest N",
            lambda findings: Estimate.share(findings[SGAN][:, -1] > findings[REGULAR][:, 0]),
            above(50),
            "higher (picture)",
        ),
        Claim(
            "Increasing N helps: the largest N less the smallest",
            lambda findings: Estimate.difference(findings[SGAN][:, -1], findings[SGAN][:, 0]),
            above(0),
            "helps",
        ),
        Claim(
            "The gain saturates: that of the smallest N over regular training, less that of the largest N over it",
            lambda findings: Estimate.difference(
                findings[SGAN][:, 0] - findings[REGULAR][:, 0], findings[SGAN][:, -1] - findings[SGAN][:, 0]
            ),
            above(0),
            "starts to saturate",
        ),
        Claim(
            "Messengers help: SGAN less simplified SGAN, at the largest N",
            lambda findings: Estimate.difference(findings[SGAN][:, -1], findings[SIMPLIFIED][:, -1]),
            above(0),
            "improves drastically",
        ),
        Claim(
            "SGAN is comparable with N-fold updates: its gain over regular training, less half of the gain of N times "
            "the steps, at the largest N",
            lambda findings: Estimate.difference(
                findings[SGAN][:, -1], (findings[REGULAR][:, 0] + findings[REGULAR][:, -1]) / 2
            ),
            above(0),
            "comparable (figure 3)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return log-likelihoods, (seeds, numbers of pairs); for the regular GAN by multiples of the steps."""
        game = toy_game(ring_of_gaussians(8), False, size["width"], size["latent"], size["batch"])
        adam, turns, steps, seeds = Adam(size["rate"], (0.5, 0.999)), size["turns"], size["steps"], size["seeds"]
        metrics = {"likelihood": LogLikelihood()}
        step_multiples = (1, *(count for count in size["pairs"] if count > 1))
        run = Run(game, methods.alternating(adam, discriminator_turns=turns), steps * step_multiples[-1], seeds)
        by_step = train_and_evaluate_pairs(
            run, folder / "regular", [steps * multiple for multiple in step_multiples], metrics, track
        )
        findings: Findings = {
            "pairs": np.array(size["pairs"]),
            "folds": np.array(step_multiples),
            REGULAR: np.array([measurements["likelihood"][:, 0] for measurements in by_step.values()]).T,
        }
        for name, make_method in (
            (SGAN, partial(methods.sgan, messenger_steps=size["messengers"])),
            (SIMPLIFIED, methods.simplified_sgan),
        ):
            rows = []
            for count in size["pairs"]:
                run = Run(game, make_method(count, turns, optimizer=adam), steps, seeds)
                directory = folder / f"{name.lower().replace(' ', '-')}-{count}"
                rows.append(
                    train_and_evaluate_pairs(run, directory, [steps], metrics, track)[steps]["likelihood"][:, 0]
                )
            findings[name] = np.array(rows).T
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot log-likelihoods against N: a dot per seed, and a line for the medians."""
        axes = figure.add_subplot(1, 1, 1, xlabel="N", xscale="log", ylabel="log-likelihood, nats", title=self.title)
        curves = {
            SGAN: (findings["pairs"], findings[SGAN]),
            SIMPLIFIED: (findings["pairs"], findings[SIMPLIFIED]),
            f"{REGULAR}, N-fold updates": (findings["folds"], findings[REGULAR]),
        }
        for index, (name, (counts, values)) in enumerate(curves.items()):
            axes.plot(counts, np.median(values, 0), "o-", color=f"C{index}", label=name)
            axes.plot(counts, values.T, ".", color=f"C{index}", alpha=0.4)
        axes.axhline(np.median(findings[REGULAR][:, 0]), color="C2", ls=":", label=REGULAR)
        axes.set_xticks(findings["folds"], [str(multiple) for multiple in findings["folds"]], minor=False)
        axes.set_yscale("symlog")
        axes.set_ylim(top=3)
        axes.minorticks_off()
        axes.legend()
