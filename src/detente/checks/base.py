"""The base class of checks, what they look at, and what they find."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from detente.errors import require
from detente.game import Buffers, Vectors
from detente.registry import members

FAILURES = (
    "collapse",
    "oscillation or limit cycle",
    "discriminator overpowers",
    "generator overpowers or discriminator dead",
    "vanishing gradient",
    "blow-up",
    "unbounded critic",
    "penalty or Lipschitz bound wrong",
    "normalisation",
    "data scale",
    "too few data",
    "wiring",
    "labels ignored",
    "sampling",
    "artefact",
    "healthy",
)
REAL, FAKE, NUMBERS = 1024, 64, 2**21  # samples that checks look at, and numbers in them


@dataclass(frozen=True)
class Finding:
    """What is wrong with a set-up.

    Args:
        failure: kind of failure, one of `FAILURES`.
        evidence: a sentence with the numbers that show it.
        certainty: how sure it is, in (0, 1].
        remedy: what to change, as a sentence; names options and arguments.
    """

    failure: str
    evidence: str
    certainty: float
    remedy: str

    def __post_init__(self) -> None:
        require(self.failure in FAILURES, "failure", self.failure, f"one of {', '.join(FAILURES)}")
        require(0 < self.certainty <= 1, "certainty", self.certainty, "a number in (0, 1]")

    def __str__(self) -> str:
        return f"{self.failure}: {self.evidence} {self.remedy}"


class Setup:
    """A GAN before its first step, with samples that all checks share. Looking at it changes nothing.

    Args:
        game: a game of a generator and a discriminator, `Adversarial` or `Conditional`.
        method: the training method, if it is known.
    """

    def __init__(self, game: Any, method: Any = None) -> None:
        self.game, self.method = game, method

    @cached_property
    def point(self) -> tuple[Vectors, Buffers]:
        """Initial parameters and buffers."""
        return self.game.initial(torch.Generator().manual_seed(0))

    @cached_property
    def real(self) -> Tensor:
        """Real samples, (count, …): all of a small set, otherwise drawn ones, of at most `NUMBERS` numbers."""
        return self._batch["real"]

    @cached_property
    def _batch(self) -> dict[str, Tensor]:
        data, generator = self.game.data, torch.Generator().manual_seed(0)
        count = min(REAL, max(64, NUMBERS // math.prod(data.shape)))
        if data.size is not None and data.size <= count:
            return data.take(torch.arange(data.size))
        return data.draw(count, generator)

    @cached_property
    def batch(self) -> dict[str, Tensor]:
        """A complete batch, as the first step gets it."""
        return self.small_batch(self.game.batch)

    def small_batch(self, count: int) -> dict[str, Tensor]:
        """Return a complete batch of `count` samples."""
        generator = torch.Generator().manual_seed(0)
        zero = torch.zeros((), dtype=torch.int64)
        return self.game.with_step(self.game.complete(self.game.data.draw(count, generator), generator), zero)

    def module(self, player: str) -> nn.Module:
        """Return a player's module; only its structure counts."""
        return self.game.modules[player]

    def generate(self, vectors: Vectors | None = None, labels: str = "fake", count: int = FAKE) -> Tensor:
        """Return samples in training mode, at the initial parameters or others, always with the same latents."""
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(count, *self.game.latent_shape, generator=generator)
        vectors, buffers = vectors or self.point[0], self.point[1]
        conditioning = [x[torch.arange(count) % len(x)] for x in self.game._conditioning(self.batch, labels)]
        with torch.no_grad():
            return self.game._call("generator", vectors, buffers, latents, *conditioning)

    def scores(self, samples: Tensor) -> Tensor:
        """Return the discriminator's scores in training mode, (count, …), at the initial parameters."""
        conditioning = [x[torch.arange(len(samples)) % len(x)] for x in self.game._conditioning(self.batch, "real")]
        with torch.no_grad():
            outputs = self.game._call("discriminator", *self.point, samples, *conditioning)
        leaves = [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]
        return torch.cat([x.reshape(len(x), -1) for x in leaves], 1) if len(leaves) > 1 else leaves[0]


class Check(ABC):
    """A look at a set-up before any step. It returns nothing if all is well.

    A concrete check is a frozen dataclass whose fields are its limits, numbers ≥ 0.
    """

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            require(math.isfinite(limit) and limit >= 0, name, limit, "a finite number ≥ 0")

    @abstractmethod
    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return what is wrong."""


def inspect(game: Any, method: Any = None) -> list[Finding]:
    """Return what all checks find, the most certain first; a check that cannot run finds nothing.

    Args:
        game: a game of a generator and a discriminator.
        method: the training method, if it is known.
    """
    setup, findings = Setup(game, method), []
    for kind in members("checks").values():
        try:
            findings += kind()(setup)
        except Exception:  # noqa: BLE001, S112  # a set-up that a check does not understand must still train
            continue
    return sorted(findings, key=lambda finding: -finding.certainty)
