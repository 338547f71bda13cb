"""O4, a control: right mean and standard deviation, wrong shape; it only needs longer (devnag #7)."""

from __future__ import annotations

from benchmarks.rescue.cases.f47_mean_400 import SCALARS, Discriminator, Generator, Marks
from benchmarks.rescue.parts import Normal, adam
from detente.games.adversarial import Adversarial
from detente.methods.method import Method

NAME = "Control: a run that only needs longer"
CLASSES = ("healthy",)
LINK = "https://github.com/devnag/pytorch-generative-adversarial-networks/issues/7"
STEPS = 30_000
MAY_CHANGE_NETWORKS = False
MARKS = Marks()
failed, cured = MARKS.failed, MARKS.cured


def game() -> Adversarial:
    """Return the game of N(4, 1.25)."""
    data = Normal(4.0, 1.25, SCALARS)
    return Adversarial(Generator, Discriminator, data, SCALARS, "non_saturating", batch=1, scores="probabilities")


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.9."""
    return adam(2e-4, beta=0.9)


def twin() -> tuple[Adversarial, Method]:
    """Return the same: there is nothing to cure."""
    return game(), method()
