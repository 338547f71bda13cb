"""The base class of cures, and the changes that they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detente import methods
from detente.arguments import Typed
from detente.checks.base import FAILURES, Finding
from detente.errors import require
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.data_units import real_samples, spread, units_for
from detente.games.gan import Gan
from detente.games.networks import Networks
from detente.games.presets.changes import changed
from detente.games.separated import ends_in_sigmoid, separated
from detente.methods.method import Method
from detente.modules.rescaled import Units, units_of
from detente.optimizers.base import Optimizer, Wrapper
from detente.optimizers.momentum import Momentum
from detente.optimizers.sgd import SGD
from detente.penalties.base import Penalty
from detente.penalties.lazy import Lazy

SEPARATE = 0.8  # certainty of a fault of the user's losses from which every trial has ours
SURE = 0.5  # a finding that is more likely right than wrong
EVERY = 4  # steps between penalties; as good as in every step on the ring and on digits, at half the cost
RATIO = 5.0  # of two rates, as far apart as in the settings of published GANs (two time-scales: 1 : 4, 1 : 5)


@dataclass(frozen=True)
class Change:
    """A change of a game and a method.

    Args:
        game: arguments of `detente.games.presets.changed`, which replace the game's own settings.
        method: name of the new method, or "" for the same one.
        settings: arguments of the new method.
    """

    game: Mapping[str, Any] = field(default_factory=dict)
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def then(self, other: Change) -> Change:
        """Return both changes in one; the later one wins, and its penalties are added."""
        game = {**self.game, **other.game}
        if "penalties" in self.game and "penalties" in other.game:
            kinds = {_kind(penalty) for penalty in other.game["penalties"]}
            penalties = [penalty for penalty in self.game["penalties"] if _kind(penalty) not in kinds]
            game["penalties"] = (*penalties, *other.game["penalties"])
        if not other.method:
            return replace(self, game=game)
        return Change(game, other.method, other.settings)

    def apply(self, game: Any, method: Method) -> tuple[Game, Method]:
        """Return the changed game and method.

        Raises:
            InvalidValue: they do not fit.
        """
        game = changed(game, **self.game) if self.game else game
        if not self.method:
            return game, method
        return game, getattr(methods, self.method)(**self.settings).playing(game)


def _kind(penalty: Penalty) -> type:
    return type(penalty.penalty if isinstance(penalty, Lazy) else penalty)


@dataclass(frozen=True)
class Case:
    """A GAN that fails, for cures to choose a change.

    Args:
        game: the game.
        method: its method.
        gan: the players.
        findings: what is wrong, the most certain first.
        steps: steps of a whole run.
    """

    game: Any
    method: Method
    gan: Gan
    findings: Sequence[Finding]
    steps: int

    @property
    def adversarial(self) -> bool:
        """Whether the losses are ours, so that they can be replaced."""
        return isinstance(self.game, Adversarial)

    @cached_property
    def real(self) -> torch.Tensor:
        """Real samples, always the same ones, (count, …), float64."""
        return real_samples(self.gan)

    @property
    def images(self) -> bool:
        """Whether samples are images or other data of many numbers, rather than points or tables."""
        return self.real[0].numel() > 64 or self.real.dim() > 2

    @cached_property
    def deviation(self) -> torch.Tensor:
        """The data's standard deviation: of each column of points and tables, otherwise of all numbers."""
        return spread(self.real)[1]

    @cached_property
    def units(self) -> Units | None:
        """The units in which the discriminator should work, if it does not work in the data's own."""
        present = units_of(self.module("discriminator"))
        return present or (units_for(self.gan, "discriminator") if self.rescales else None)

    @cached_property
    def rescales(self) -> bool:
        """Whether the networks should work in standard units, and do not yet.

        They should if the data's scale is found wrong, or if a column's mean is more than two standard deviations from
        0, or its standard deviation not in [0.2, 5]: initial networks have inputs and outputs near 0 and 1 in mind.
        """
        if bool((self.real == self.real[:1]).all()) or units_of(self.module("discriminator")) is not None:
            return False
        mean, deviation = spread(self.real)
        far = bool((mean.abs() > 2 * deviation).any() or (deviation < 0.2).any() or (deviation > 5).any())
        return far or self.sure("data scale") >= SURE

    @cached_property
    def variance(self) -> float:
        """The sum of the variances of all numbers of a sample, in the units in which the networks work.

        It is the natural unit of a squared slope's reciprocal: a score that changes by one from one sample to another
        one has a mean squared slope of about 1/variance.
        """
        real = self.real if self.units is None else self.units.standard(self.real)
        return float(real.flatten(1).var(0, correction=0).sum()) or 1.0  # of data that are one point

    @property
    def penalty_strength(self) -> float:
        """γ of R1 and R2: 0.3 times the geometric mean of a number's variance and the variance of a whole sample.

        A score that changes by one along one number's standard deviation, or from one sample to another, has the
        squared slope 1/variance, of the one or the other. In between, γ/2 times the squared slope is 0.15, a tenth of
        the loss, 1.39, of an undecided discriminator. In published settings γ lies between 0.1 and 20 for points and
        for images of all sizes, so it grows less than the variance of a whole sample does.
        """
        return float(f"{0.3 * self.variance / self.real[0].numel() ** 0.5:.2g}")

    @property
    def decay(self) -> float:
        """The decay of an average with a half-life of 1/50 of the run, at most 0.999."""
        return min(0.999, float(f"{0.5 ** (50 / max(self.steps, 50)):.4f}"))

    @property
    def policy(self) -> str:
        """How images are augmented; those of one channel have no colours."""
        return "translation,cutout" if self.real.shape[1] == 1 else "color,translation,cutout"

    def averaged(self, rate: float | dict[str, float], betas: tuple[float, float]) -> dict[str, Any]:
        """Return settings of the method `averaged`, alternating Adam with an average of the generator for samples."""
        return {"learning_rate": rate, "betas": betas, "decay": self.decay}

    def sizes(self, role: str) -> list[float]:
        """Return the size of each layer's weights, their root mean square times √(number of inputs); 1 is usual."""
        weights = [weight.data.double() for weight in self.module(role).parameters() if weight.dim() > 1]
        return [float((weight.square().mean() * weight[0].numel()).sqrt()) for weight in weights if len(weight)]

    def lazily(self, *penalties: Penalty) -> tuple[Penalty, ...]:
        """Return penalties of every fourth step, which cost little; of every step if the losses stay the user's own."""
        return tuple(Lazy(each, EVERY) for each in penalties) if self.adversarial or self.separates else penalties

    @cached_property
    def separates(self) -> bool:
        """Whether the user's losses are surely at fault, and can be replaced by ours."""
        if not self.own_losses or max(self.sure("wiring"), self.sure("normalisation")) < SEPARATE:
            return False
        try:
            separated(self.game, self.gan)
        except Exception:  # noqa: BLE001  # a user's networks may refuse in any way
            return False
        return True

    @property
    def has_similar_columns(self) -> bool:
        """Whether the columns have similar standard deviations, within a factor of 3."""
        return float(self.deviation.max()) <= 3 * float(self.deviation.min())

    @cached_property
    def probabilities(self) -> bool:
        """Whether the discriminator ends in a sigmoid."""
        return ends_in_sigmoid(self.gan)

    def module(self, role: str) -> nn.Module:
        """Return the module of the "generator" or the "discriminator"."""
        return self.game.modules[getattr(self.gan, role)]

    @property
    def batch_norm(self) -> bool:
        """Whether the discriminator has BatchNorm."""
        return any(isinstance(part, _BatchNorm) for part in self.module("discriminator").modules())

    @cached_property
    def own_rates(self) -> dict[str, float]:
        """The learning rates of the method, by player, where they are numbers of an adaptive optimizer."""
        rates = {}
        for name, optimizer in self.method.playing(self.game).optimizers(self.game.players).items():
            inner: Optimizer = optimizer
            while isinstance(inner, Wrapper):
                inner = inner.optimizer
            rate = getattr(inner, "learning_rate", None)
            if isinstance(rate, int | float) and not isinstance(inner, SGD | Momentum):
                rates[name] = float(rate)
        return rates

    def rate(self, role: str) -> float:
        """Return a learning rate of Adam that suits the network of a role, in [2e-4, 2e-3].

        0.128/(largest fan-in): an Adam step changes each weight by at most about the rate η, and so a layer's sums of n
        inputs by up to nη. This gives 1e-3 for layers of 128 units, 5e-4 for 256, and DCGAN's 2e-4 for more than 640
        inputs, that is for most convolutions. On images, where errors of many outputs add up, the largest rate is
        5e-4.

        Source: Yang & Hu 2021, Tensor Programs IV (arXiv:2011.14522), for rates like 1/fan-in with Adam; Radford et al.
            2016 for 2e-4.
        """
        weights = [weight for weight in self.module(role).parameters() if weight.requires_grad]
        largest = max([weight[0].numel() for weight in weights if weight.dim() >= 2 and len(weight)], default=64)
        most = 5e-4 if self.images else 2e-3
        rate = min(most, max(2e-4, 0.128 / largest))
        return float(f"{rate:.1g}")

    def rates(self, generator: float, discriminator: float) -> float | dict[str, float]:
        """Return the learning rates: a number if they are equal, or by player; other players have the generator's."""
        if generator == discriminator:
            return generator
        known = {self.gan.generator: generator, self.gan.discriminator: discriminator}
        return {name: known.get(name, generator) for name in self.game.players}

    @property
    def balanced(self) -> float:
        """One rate for both players that suits the more delicate network."""
        return min(self.rate("generator"), self.rate("discriminator"))

    @property
    def rates_are_off(self) -> bool:
        """Whether the method's rates are unknown, more than a factor of 5 apart, or that far from suitable ones."""
        rates = [self.own_rates.get(name) for name in (self.gan.generator, self.gan.discriminator)]
        if None in rates:
            return True
        generator, discriminator = map(float, rates)  # pyright: ignore[reportArgumentType]
        pairs = [(generator, discriminator), *((r, self.rate("generator")) for r in (generator, discriminator))]
        return any(not 1 / RATIO <= a / b <= RATIO for a, b in pairs)

    @property
    def in_order(self) -> dict[str, Any]:
        """Arguments of `changed` with which the generator is the first player, as methods expect; mostly none.

        `changed` makes it the first one in any case, so that an argument is enough that changes nothing else.
        """
        first = self.game.players[0] == self.gan.generator
        known = set(self.game.players) & {"generator", "discriminator"}
        return {} if first or known or len(self.game.players) != 2 else {"packed": 1}

    @property
    def own_losses(self) -> bool:
        """Whether the losses are the user's own functions."""
        return isinstance(self.game, Networks) and not self.adversarial

    def sure(self, failure: str) -> float:
        """Return how sure it is that the GAN has this failure, in [0, 1]."""
        return max((f.certainty for f in self.findings if f.failure == failure), default=0.0)


class Cure(Typed, ABC):
    """A change of a game or a method that is known to help against some failures.

    Attributes:
        title: what it does, in words.
        treats: how likely it helps against each failure, in (0, 1].
        certain: whether it removes a cause, so that every trial starts with it.
        changes_networks: whether it changes layers of the user's networks.
    """

    title: ClassVar[str]
    treats: ClassVar[Mapping[str, float]]
    certain: ClassVar[bool] = False
    changes_networks: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for failure, chance in getattr(cls, "treats", {}).items():
            require(failure in FAILURES, "treats", failure, f"one of {', '.join(FAILURES)}")
            require(0 < chance <= 1, "treats", chance, "a number in (0, 1]")

    def is_certain(self, case: Case) -> bool:
        """Return whether the cure removes a cause of this GAN's failure, so that every trial starts with it."""
        del case
        return self.certain

    def chance(self, case: Case) -> float:
        """Return how likely the cure helps, in [0, 1]."""
        return max((case.sure(failure) * chance for failure, chance in self.treats.items()), default=0.0)

    @abstractmethod
    def __call__(self, case: Case) -> Change | None:
        """Return the change for a GAN, or None if it does not apply."""
