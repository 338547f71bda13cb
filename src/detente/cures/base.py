"""The base class of cures, and the changes that they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from detente import methods
from detente.checks.base import FAILURES, Finding
from detente.errors import require
from detente.game import Game
from detente.games.gan import Gan
from detente.methods.method import Method


@dataclass(frozen=True)
class Change:
    """A change of a game and a method.

    Args:
        game: arguments that the game gets instead of its own, as for `Adversarial.changed`.
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
            kinds = {type(penalty) for penalty in other.game["penalties"]}
            kept = [penalty for penalty in self.game["penalties"] if type(penalty) not in kinds]
            game["penalties"] = (*kept, *other.game["penalties"])
        if not other.method:
            return replace(self, game=game)
        return Change(game, other.method, other.settings)

    def apply(self, game: Any, method: Method) -> tuple[Game, Method]:
        """Return the changed game and method.

        Raises:
            InvalidValue: they do not fit.
        """
        changed = game.changed(**self.game) if self.game else game
        return changed, getattr(methods, self.method)(**self.settings) if self.method else method


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

    def sure(self, failure: str) -> float:
        """Return how sure it is that the GAN has this failure, in [0, 1]."""
        return max((f.certainty for f in self.findings if f.failure == failure), default=0.0)


class Cure(ABC):
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

    def chance(self, case: Case) -> float:
        """Return how likely the cure helps, in [0, 1]."""
        return max((case.sure(failure) * chance for failure, chance in self.treats.items()), default=0.0)

    @abstractmethod
    def __call__(self, case: Case) -> Change | None:
        """Return the change for a GAN, or None if it does not apply."""
