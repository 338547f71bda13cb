"""Whether the players' learning rates are usual, and similar."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch

from detente.checks.base import Check, Finding, Setup
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, value
from detente.schemes.alternating import Alternating
from detente.schemes.averaging import Averaging
from detente.schemes.extragradient import Extragradient
from detente.schemes.shared_batch import SharedBatch
from detente.schemes.simultaneous import Simultaneous

ORDINARY = (Alternating, Simultaneous, SharedBatch, Averaging, Extragradient)


@dataclass(frozen=True)
class LearningRates(Check):
    """A rate that is far too large or too small, or players whose rates differ widely, at the first step.

    Args:
        adaptive: largest accepted rate of an optimizer whose steps have the size of its rate (Adam, RMSprop …).
        plain: largest accepted rate of gradient descent.
        least: smallest accepted rate.
        ratio: largest accepted ratio of the two rates.
        rotating: rate from which simultaneous steps with β₁ ≥ 0.9 are doubtful.
        heavy: largest accepted β₁ or momentum.

    Source: Radford, Metz & Chintala 2016, DCGAN (arXiv:1511.06434), section 4 (rates of Adam, β₁); Heusel et al. 2017,
        GANs Trained by a Two Time-Scale Update Rule (arXiv:1706.08500); ML4ME, GAN Training Pitfalls (rates of 1e-5 and
        1e-3, and of 1e-4 and 1e-5); Gidel et al. 2019, Negative Momentum (arXiv:1807.04740).
    """

    of_method: ClassVar[bool] = True
    calls_networks: ClassVar[bool] = False

    adaptive: float = 8e-3
    plain: float = 1.0
    least: float = 1e-7
    ratio: float = 8.0
    rotating: float = 2e-3
    heavy: float = 0.95

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return findings on the size and on the ratio of the rates."""
        if setup.method is None:
            return []
        optimizers = setup.method.playing(setup.game).optimizers(setup.game.players)
        pairs = {player: _rate(optimizers[player]) for player in (setup.generator, setup.discriminator)}
        rates = {player: rate for player, (_, rate) in pairs.items() if rate is not None}
        kinds = {player: kind for player, (kind, _) in pairs.items()}
        findings = []
        adaptive = {player: any(word in kind.lower() for word in ADAPTIVE) for player, kind in kinds.items()}
        plain = {player: "sgd" in kind.lower() or kind == "Momentum" for player, kind in kinds.items()}
        for usual, limit in ((adaptive, self.adaptive), (plain, self.plain)):
            large = {p: r for p, r in rates.items() if usual[p] and r > limit}
            if large:
                shown = ", ".join(f"{rate:g} ({player})" for player, rate in large.items())
                kind = kinds[next(iter(large))]
                range_ = "1e-4 to 1e-3" if usual is adaptive else "1e-3 to 0.1"
                evidence = f"A learning rate of {shown} is far above what {kind} usually needs for a GAN, {range_}."
                certainty = 0.8 if max(large.values()) > 4 * limit else 0.55
                remedy = f"Use a learning rate of {'2e-4' if usual is adaptive else '0.01'}."
                findings.append(Finding("blow-up", evidence, certainty, remedy))
        small = {p: r for p, r in rates.items() if r < self.least}
        if small:
            shown = ", ".join(f"{rate:g} ({player})" for player, rate in small.items())
            evidence = f"With a learning rate of {shown}, nothing is learned in any usual number of steps."
            findings.append(Finding("vanishing gradient", evidence, 0.6, "Use a learning rate of 2e-4."))
        if len(rates) == 2:
            findings += self._ratio(setup, rates, kinds) + self._rotation(setup, optimizers, rates, adaptive)
        heavy = {player: _momentum(optimizers[player]) for player in pairs}
        heavy = {player: value for player, value in heavy.items() if value > self.heavy}
        if heavy:
            shown = ", ".join(f"{value:g} ({player})" for player, value in heavy.items())
            evidence = f"A momentum of {shown} averages gradients of {1 / (1 - max(heavy.values())):.0f} steps or more."
            remedy = "Use betas=(0.5, 0.999) or (0.0, 0.99) of Adam, and no momentum above 0.9."
            findings.append(Finding("oscillation or limit cycle", evidence, 0.65, remedy))
        return findings

    def _ratio(self, setup: Setup, rates: dict[str, float], kinds: dict[str, str]) -> list[Finding]:
        (first, second), (first_rate, second_rate) = rates, rates.values()
        smaller, larger = sorted((first_rate, second_rate))
        ordinary = isinstance(setup.method.scheme, ORDINARY)  # others choose their rates for a reason
        if larger <= self.ratio * smaller or kinds[first] != kinds[second] or not ordinary:
            return []
        strong = second if second_rate > first_rate else first
        overpowering = strong == setup.discriminator
        failure = "discriminator overpowers" if overpowering else "generator overpowers or discriminator dead"
        evidence = (
            f"The {strong}'s learning rate, {larger:g}, is {larger / smaller:.3g} times the other's, {smaller:g}."
        )
        certainty = 0.65 if larger > 30 * smaller else 0.5
        return [Finding(failure, evidence, certainty, "Bring the rates closer, at most 1 : 5.")]

    def _rotation(
        self, setup: Setup, optimizers: dict[str, Any], rates: dict[str, float], adaptive: dict[str, bool]
    ) -> list[Finding]:
        simultaneous = type(setup.method.scheme).__name__ == "Simultaneous"
        plain = type(setup.method.field).__name__ == "Gradient"
        momenta = [_first_beta(optimizers[player]) for player in rates]
        large = min(momenta) >= 0.9 and min(rates.values()) >= self.rotating and all(adaptive.values())
        if not (simultaneous and plain and large):
            return []
        evidence = (
            f"Both players move at once, with β₁ = {min(momenta):g} and a learning rate of {min(rates.values()):g}."
        )
        remedy = "Let the players take turns (method alternating), with betas=(0.5, 0.999) and a learning rate of 2e-4."
        return [Finding("oscillation or limit cycle", evidence, 0.45, remedy)]


ADAPTIVE = ("adam", "rmsprop", "radam", "adabelief", "lion")
_FIRST_STEP = torch.zeros((), dtype=torch.int64)


def _inner(optimizer: Any) -> Any:
    """Return the optimizer that others wrap."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def _settings(optimizer: Any) -> tuple[str, dict[str, Any]]:
    """Return an optimizer's kind and its settings; those of torch's too."""
    optimizer = _inner(optimizer)
    kind, settings = getattr(optimizer, "kind", None), getattr(optimizer, "settings", None)
    if isinstance(settings, Mapping):
        defaults = inspect.signature(kind).parameters if callable(kind) else {}
        known = {key: parameter.default for key, parameter in defaults.items()}
        merged = {**known, **settings}
        return getattr(kind, "__name__", str(kind)), {"learning_rate": merged.get("lr"), **merged}
    return type(optimizer).__name__, vars(optimizer)


def _rate(optimizer: Any) -> tuple[str, float | None]:
    """Return an optimizer's kind, and its learning rate at the first step, if it has one."""
    kind, settings = _settings(optimizer)
    rate = settings.get("learning_rate")
    if isinstance(rate, Schedule):  # a warm-up may begin at 0, so that the largest of some values counts
        steps = (0, 1, 10, 100, 1000, 10_000)  # and a short run may be over soon
        return kind, max(float(value(rate, torch.tensor(step), torch.float64)) for step in steps)
    return kind, float(rate) if isinstance(rate, Real) else None


def _momentum(optimizer: Any) -> float:
    """Return an optimizer's β₁ or momentum, below 1; 0 if it has none."""
    momentum = _settings(optimizer)[1].get("momentum")
    numbers = [x for x in (momentum, _first_beta(optimizer)) if isinstance(x, Real) and 0 <= float(x) < 1]
    return max(map(float, numbers), default=0.0)


def _first_beta(optimizer: Any) -> float:
    betas = _settings(optimizer)[1].get("betas")
    first = betas[0] if isinstance(betas, tuple | list) else 0.0
    return float(first) if isinstance(first, Real) else float(value(first, _FIRST_STEP, torch.float64))
