"""The base class of checks, their input, and their findings."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from detente.arguments import Typed
from detente.autodiff import vector_field
from detente.data.base import Data
from detente.errors import InvalidValue, require
from detente.game import Batch, Buffers, Vectors
from detente.games.adversarial import Adversarial
from detente.games.gan import gan_of, resembles
from detente.modules.net import Call
from detente.modules.output_range import SCALES
from detente.modules.randomness import NUMPY, PYTHON, seeded
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
REAL, NUMBERS = 1024, 2**21  # real samples that checks look at, and numbers in them
FEWEST, MOST, VALUES = 8, 64, 2**14  # samples that go through the networks, and numbers in them
SMALL, STREAMED = 8, 4  # samples of a small batch; batches that are read from a stream
LARGE = 4_000_000  # parameters of networks that get half as many samples at least
FAR_OUT = 30.0  # mean |value| of samples that show how far scores go


@dataclass(frozen=True)
class Finding:
    """A fault of a set-up.

    Args:
        failure: kind of failure, one of `FAILURES`.
        evidence: a sentence with the numbers that show it.
        certainty: how sure it is, in (0, 1].
        remedy: what to change, as a sentence; names options and arguments.
        by_hand: whether only a change of the user's own code or data helps, so that trying cures is pointless.
    """

    failure: str
    evidence: str
    certainty: float
    remedy: str
    by_hand: bool = False

    def __post_init__(self) -> None:
        require(self.failure in FAILURES, "failure", self.failure, f"one of {', '.join(FAILURES)}")
        require(0 < self.certainty <= 1, "certainty", self.certainty, "a number in (0, 1]")

    def __str__(self) -> str:
        return f"{self.failure}: {self.evidence} {self.remedy}"


class Setup:
    """A GAN before its first step, with samples that all checks share. Its methods change nothing.

    Args:
        game: a game of a generator and a discriminator: `Adversarial`, `Conditional`, or `Networks` with two such
            players, whatever their names.
        method: the training method, if it is known.
        samples: maximum number of real samples.

    Raises:
        InvalidValue: the game has no such players.
    """

    def __init__(self, game: Any, method: Any = None, samples: int = REAL) -> None:
        self.gan = gan_of(game)
        self.game, self.method, self.samples = game, method, samples
        self.generator, self.discriminator = self.gan.generator, self.gan.discriminator
        self._responses: dict[tuple[float, float], dict[str, float]] = {}

    @cached_property
    def point(self) -> tuple[Vectors, Buffers]:
        """Initial parameters and buffers."""
        return self.game.initial(torch.Generator().manual_seed(0))

    @property
    def data(self) -> Data | None:
        """The game's data, if they are a set of `detente.data`."""
        return self.game.data if isinstance(self.game.data, Data) else None

    @property
    def size(self) -> int | None:
        """Number of samples of the set, or None if it is unlimited or unknown."""
        return self.data.size if self.data else self.game.batches.size

    @cached_property
    def real(self) -> Tensor:
        """Real samples, (count, …): all of a small set, otherwise drawn ones, of at most `NUMBERS` numbers."""
        generator, shape = torch.Generator().manual_seed(0), self.batch[self.gan.real_entry].shape
        count = min(self.samples, max(64, NUMBERS // math.prod(shape[1:])))
        small = self.size is not None and self.size <= count
        if self.data:
            batch = self.data.take(torch.arange(self.size)) if small else self.data.draw(count, generator)  # type: ignore
            return self.gan.real_of(batch)
        with suppress(InvalidValue):
            if self.size:
                indices = torch.arange(self.size) if small else torch.randint(self.size, (count,), generator=generator)
                return self.gan.real_of(self.game.form.flatten(self.game.batches.take(indices)))
        batches = min(STREAMED, max(1, count // len(self.batch[self.gan.real_entry])))
        return self.gan.real(batches * len(self.batch[self.gan.real_entry]), generator)

    @cached_property
    def count(self) -> int:
        """Number of samples that go through the networks: 64 points, 20 digits, 8 or 4 large pictures."""
        return max(self._halved(FEWEST), min(MOST, VALUES // self.real[0].numel()))

    def _halved(self, count: int) -> int:
        return count // 2 if sum(layout.size for layout in self.game.layouts.values()) > LARGE else count

    @property
    def few(self) -> Tensor:
        """The first real samples, (count, …), to go through the discriminator."""
        return self.real[: self.count]

    @cached_property
    def batch(self) -> Batch:
        """A complete batch, as the first step gets it."""
        return self.at_start(self.gan.batch(torch.Generator().manual_seed(0)))

    def at_start(self, batch: Batch) -> Batch:
        """Return a batch at step 0."""
        return self.game.with_step(batch, torch.zeros((), dtype=torch.int64))

    @cached_property
    def small_batch(self) -> Batch:
        """A complete batch of few samples where the game's networks accept that, otherwise `batch`."""
        if not isinstance(self.game, Adversarial) or self.game.batch <= SMALL:
            return self.batch
        generator = torch.Generator().manual_seed(0)
        batch = self.at_start(self.game.complete(self.game.data.draw(self._halved(SMALL), generator), generator))
        try:
            self.gradients = vector_field(self.game, *self.point, batch, (self.generator, self.discriminator)).field
        except (RuntimeError, ValueError):
            return self.batch
        return batch

    @cached_property
    def gradients(self) -> Vectors:
        """Each player's gradient of its own loss, (n_i,), on few samples where the networks accept that."""
        players = (self.generator, self.discriminator)
        return vector_field(self.game, *self.point, self.small_batch, players).field

    @cached_property
    def awake(self) -> Vectors:
        """Initial parameters, with gates of zero, as of self-attention, opened a little, as the first step does."""
        source, vectors = torch.Generator().manual_seed(13), dict(self.point[0])
        for player in (self.generator, self.discriminator):
            layout = self.game.layouts[player]
            pieces, gradients = layout.unflatten(vectors[player]), layout.unflatten(self.gradients[player])
            asleep = [name for name, x in pieces.items() if not bool(x.any()) and bool(gradients[name].any())]
            moved = {name: 0.1 * torch.randn(pieces[name].shape, generator=source).to(pieces[name]) for name in asleep}
            vectors[player] = layout.flatten({**pieces, **moved})
        return vectors

    @cached_property
    def gradients_awake(self) -> Vectors:
        """Each player's gradient at `awake`."""
        players = (self.generator, self.discriminator)
        return vector_field(self.game, self.awake, self.point[1], self.small_batch, players).field

    def module(self, player: str) -> nn.Module:
        """Return a player's module; only its structure counts."""
        return self.game.modules[player]

    @cached_property
    def calls(self) -> list[tuple[str, Call]]:
        """All calls of the players in one evaluation of the losses on `batch`, in their order."""
        return self.gan.calls(*self.point, self.batch, torch.Generator().manual_seed(1))

    @cached_property
    def generator_call(self) -> Call:
        """A call of the generator, always with the same latents."""
        if not isinstance(self.game, Adversarial):
            return next(call for player, call in self.calls if player == self.generator)
        (call,) = self.gan.generator_inputs(*self.point, self.batch, torch.Generator().manual_seed(1))
        repeated = [x[torch.arange(self.count) % len(x)] for x in call.inputs[1:]]
        latents = torch.randn(self.count, *self.game.latent_shape, generator=torch.Generator().manual_seed(1))
        return Call(call.part, (latents.to(call.inputs[0].dtype), *repeated), call.keywords)

    @torch.no_grad()
    def generate(self, vectors: Vectors | None = None, call: Call | None = None) -> Tensor:
        """Return samples in training mode, at the initial parameters or others, always with the same latents."""
        with seeded(0, torch.device("cpu"), self.game.sources):
            net = self.game._net(vectors or self.point[0], self.point[1])
            return net.call(self.generator, call or self.generator_call, update=False)

    @cached_property
    def fake(self) -> Tensor:
        """Generated samples in training mode, (count, …)."""
        return self.generate()

    @torch.no_grad()
    def scores(self, samples: Tensor, vectors: Vectors | None = None) -> Tensor:
        """Return the discriminator's scores in training mode, (count, …), at the initial parameters or others."""
        outputs = self.gan.outputs(vectors or self.point[0], self.point[1], samples, True, self.batch)
        if not isinstance(self.game, Adversarial):
            return self.gan.score_of(outputs)
        leaves = [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]
        return torch.cat([x.reshape(len(x), -1) for x in leaves], 1) if len(leaves) > 1 else leaves[0]

    @cached_property
    def generated_at_scales(self) -> list[Tensor]:
        """Generated samples with all parameters of the generator multiplied by each of `SCALES`."""
        vectors, name = self.point[0], self.generator
        return [self.fake, *[self.generate({**vectors, name: scale * vectors[name]}) for scale in SCALES[1:]]]

    @cached_property
    def scores_at_scales(self) -> list[Tensor]:
        """Scores of `few`, and of `few` far out with all parameters multiplied by each of the other `SCALES`."""
        vectors, name = self.point[0], self.discriminator
        outside = FAR_OUT * self.few / max(float(self.few.abs().mean()), 1e-12)  # where biases do not decide
        others = [self.scores(outside, {**vectors, name: scale * vectors[name]}) for scale in SCALES[1:]]
        return [self.scores(self.few), *others]

    @cached_property
    def discriminator_call(self) -> Call:
        """A call of the discriminator with `few` real samples."""
        more, keywords = self.gan.discriminator_inputs(self.batch)
        inputs = (self.few.to(self.point[0][self.discriminator].dtype), *more)
        count = torch.arange(len(self.few))
        inputs, keywords = tree_map_only(Tensor, lambda x: x[count % len(x)] if x.dim() else x, (inputs, keywords))
        return Call(self.gan.discriminator_part, inputs, keywords)

    def is_real(self, samples: Tensor) -> Tensor:
        """Return which of some samples are the real ones of `small_batch` or `batch`, (count,) bool."""
        is_real = torch.zeros(len(samples), dtype=torch.bool)
        for batch in (self.small_batch, self.batch):
            real = self.gan.real_of(batch).to(samples.dtype)
            for start in range(0, len(samples) - len(real) + 1, len(real)):
                part = samples[start : start + len(real)]
                is_real[start : start + len(real)] |= torch.equal(part, real) or resembles(part, real)
        return is_real

    def losses_at(self, real: float, fake: float) -> dict[str, float]:
        """Return each player's loss if all real samples had one score and all others another; NaN where it fails."""
        if isinstance(self.game, Adversarial):
            return self._objective_at(real, fake)
        if (real, fake) not in self._responses:

            def constant(samples: Tensor, scores: Tensor) -> Tensor:
                chosen = self.is_real(samples)
                if len(chosen) != len(scores):
                    chosen = chosen[:: len(chosen) // len(scores)]  # scores of several samples together
                values = torch.where(chosen, real, fake).to(scores.dtype)
                return values.reshape(-1, *[1] * (scores.dim() - 1)) + 0 * scores  # with a slope of 0

            try:
                losses, _ = self.gan.with_scores(constant).losses(*self.point, self.small_batch)
                losses_by_player = {player: float(losses[player]) for player in self.game.players}
            except (RuntimeError, ValueError):  # such as binary_cross_entropy of a number outside [0, 1]
                losses_by_player = dict.fromkeys(self.game.players, math.nan)
            self._responses[real, fake] = losses_by_player
        return self._responses[real, fake]

    def _objective_at(self, real: float, fake: float) -> dict[str, float]:
        scores = [self.game._as_logits(torch.full((SMALL,), x)) for x in (real, fake)]
        objective = self.game.objective.at(torch.zeros((), dtype=torch.int64))
        return {
            self.generator: float(objective.generator_loss(*scores)),
            self.discriminator: float(objective.discriminator_loss(*scores)),
        }

    @cached_property
    def scores_are_numbers(self) -> bool:
        """Whether the discriminator returns scores through one call, not images (an autoencoder) or features."""
        if isinstance(self.game, Adversarial):
            return True
        others = {call.part for player, call in self.calls if player == self.discriminator}
        score = self.scores(self.gan.real_of(self.batch))
        image = score.shape[1:] == self.real.shape[1:] and self.real[0].numel() > 1
        return others == {self.gan.discriminator_part} and not image

    @cached_property
    def linear(self) -> bool:
        """Whether the discriminator's loss is linear in the scores, so that only a bound keeps them finite."""
        if not self.scores_are_numbers:
            return False
        for place in (0, 1):
            at = [self.losses_at(*[x if i == place else 0.0 for i in (0, 1)]) for x in (-200.0, 0.0, 200.0)]
            low, middle, high = (losses[self.discriminator] for losses in at)
            slope = high - low
            if not math.isfinite(slope) or abs(slope) < 1e-3 or abs(high + low - 2 * middle) > 1e-3 * abs(slope):
                return False
        return True

    def loss_at_slope(self, slope: float) -> float:
        """Return the discriminator's loss if it were linear with this slope, and all scores 0."""

        def linear(samples: Tensor, scores: Tensor) -> Tensor:
            length = samples[0].numel() ** 0.5
            total = samples.flatten(1).sum(1) * (slope / length)
            with torch.no_grad():
                value = samples.flatten(1).sum(1) * (slope / length)
            total = (total - value)[:: max(1, len(samples) // len(scores))]
            shape = [len(scores), *[1] * (scores.dim() - 1)]
            return total.to(scores.dtype).reshape(shape).expand_as(scores) / scores[0].numel()

        losses, _ = self.gan.with_scores(linear).losses(*self.point, self.small_batch)
        return float(losses[self.discriminator])

    @cached_property
    def penalised(self) -> bool:
        """Whether the discriminator's loss has a penalty on its slope."""
        if isinstance(self.game, Adversarial):
            return bool(self.game.penalties)
        try:
            values = [x for x in map(self.loss_at_slope, (0.0, 1.0, 4.0, 16.0)) if math.isfinite(x)]
        except (RuntimeError, ValueError):  # scores of other numbers than those of the samples
            return False
        return max(values, default=0.0) - min(values, default=0.0) > 1e-4


def starts_at_zero(module: nn.Module) -> bool:
    """Whether the last weights of a network, and only they, are zero: a common choice, which the first step changes."""
    zero = [not bool(p.any()) for p in module.parameters() if p.dim() > 1]
    return len(zero) > 1 and zero[-1] and not any(zero[:-1])


class Check(Typed, ABC):
    """A look at a set-up before any step. It returns no findings if all is well.

    A concrete check is a frozen dataclass whose fields are its limits, numbers ≥ 0.

    Attributes:
        of_method: whether its findings depend on the method.
        at_construction: whether it runs whenever a game is built in Python.
        calls_networks: whether it calls the networks, which takes time if they are large.
    """

    of_method: ClassVar[bool] = False
    at_construction: ClassVar[bool] = True
    calls_networks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            require(math.isfinite(limit) and limit >= 0, name, limit, "a finite number ≥ 0")

    @abstractmethod
    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return what is wrong."""


def inspect(game: Any, method: Any = None, samples: int = REAL, kinds: Sequence[str] | None = None) -> list[Finding]:
    """Return what all checks find, the most certain first; a check that cannot run finds nothing.

    Args:
        game: a game of a generator and a discriminator; others give no findings.
        method: the training method, if it is known.
        samples: largest number of real samples to look at.
        kinds: names of the checks; default: all.
    """
    findings: list[Finding] = []
    sources = (PYTHON, NUMPY, *getattr(game, "sources", ()))
    with (
        warnings.catch_warnings(),
        seeded(0, torch.device("cpu"), sources),
    ):  # the user's random numbers stay as they are
        warnings.simplefilter("ignore")  # of the user's networks, which warn again in training
        try:
            setup = Setup(game, method, samples)
        except Exception:  # noqa: BLE001  # no GAN
            return []
        for name, kind in members("checks").items():
            if kinds is not None and name not in kinds:
                continue
            try:
                findings += kind()(setup)
            except Exception:  # noqa: BLE001, S112  # a set-up that a check does not understand must still train
                continue
    return sorted(findings, key=lambda finding: -finding.certainty)
