"""The generator and the discriminator of a game, whatever their names and inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from detente.autodiff.engines import as_leaves
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.games.scores import mean_of_maps
from detente.modules.calling import evaluating
from detente.modules.net import Call
from detente.modules.randomness import seeded
from detente.modules.rescaled import Units
from detente.nested import map_tensors, tensors_of

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Gan:
    """A generator and a discriminator of a game, as functions of its parameters. Calling them changes nothing.

    Args:
        game: the game.
        generator: name of the player that makes samples.
        discriminator: name of the player that scores them.
        real_entry: name of the real samples in a batch.
        generator_inputs: returns the generator's inputs in a batch, for random numbers from a generator, as calls.
        discriminator_part: the discriminator's method or submodule that is called; "" for the module itself.
        discriminator_inputs: returns what the discriminator gets in addition to samples, for a batch.
        units: the map by which the losses rescale the real samples of a batch to the usual units of generated
            samples; None if they do not.
    """

    game: Networks
    generator: str
    discriminator: str
    real_entry: str
    generator_inputs: Callable[[Vectors, Buffers, Batch, torch.Generator], Sequence[Call]]
    discriminator_part: str
    discriminator_inputs: Callable[[Batch], tuple[Inputs, dict[str, Any]]]
    units: Units | None = None

    def real_of(self, batch: Batch) -> Tensor:
        """Return the real samples of a batch, (count, …), in the units of generated ones."""
        real = batch[self.real_entry]
        real = real if real.is_floating_point() else real.float()
        return real if self.units is None else self.units.natural(real)

    def batch(self, generator: torch.Generator) -> Batch:
        """Return a batch for a measurement; the batches of training do not change."""
        batches = self.game.batches
        if batches is None:
            return self.game.draw(generator)
        if isinstance(self.game, Adversarial):  # its batches have another form, with the data as one entry
            data: Any = self.game.data
            return self.game.complete(data.peek(generator), generator)
        return self.game.complete(batches.peek(self.game.batch, generator), generator)

    @torch.no_grad()
    def samples(
        self, vectors: Vectors, buffers: Buffers, count: int, generator: torch.Generator, training: bool = False
    ) -> Tensor:
        """Return `count` generated samples, (count, …), with modules in evaluation or in training mode.

        Args:
            vectors: each player's parameters.
            buffers: each player's buffers; they do not change.
            count: number of samples.
            generator: source of latents and batches; not the one of a training.
            training: whether layers such as BatchNorm and dropout are in training mode.
        """
        parts: list[Tensor] = []
        while sum(map(len, parts)) < count:
            batch = self.batch(generator)
            calls = self.generator_inputs(vectors, buffers, batch, generator)
            with self._mode(self.generator, training, generator):
                net = self.game._net(vectors, buffers)
                parts += [net.call(self.generator, call, update=False) for call in calls]
        return torch.cat(parts)[:count]

    @torch.no_grad()
    def scores(
        self, vectors: Vectors, buffers: Buffers, samples: Tensor, training: bool = False, batch: Batch | None = None
    ) -> Tensor:
        """Return each sample's score as the losses see it, (count,); of maps, the mean.

        Args:
            vectors: each player's parameters.
            buffers: each player's buffers; they do not change.
            samples: samples, (count, …).
            training: whether layers such as BatchNorm and dropout are in training mode.
            batch: batch with what the discriminator gets in addition, such as labels; default: a drawn one.
        """
        return self.differentiable_scores(vectors, buffers, samples, training, batch)

    def differentiable_scores(
        self, vectors: Vectors, buffers: Buffers, samples: Tensor, training: bool = False, batch: Batch | None = None
    ) -> Tensor:
        """Return the scores on autograd's graph; arguments as `scores`."""
        outputs = self.outputs(vectors, buffers, samples, training, batch)
        if isinstance(self.game, Adversarial):
            return mean_of_maps(self.game._as_logits(outputs))
        score = self.score_of(outputs)
        return score.reshape(len(score), -1).mean(1)

    def outputs(
        self, vectors: Vectors, buffers: Buffers, samples: Tensor, training: bool = True, batch: Batch | None = None
    ) -> Any:
        """Return what the discriminator returns for samples; arguments as `scores`."""
        generator = torch.Generator().manual_seed(0)
        inputs, keywords = self.discriminator_inputs(self.batch(generator) if batch is None else batch)
        count = len(samples)
        more, named = tree_map_only(Tensor, lambda x: _repeated(x, count), (inputs, keywords))
        with self._mode(self.discriminator, training, generator):
            call = Call(self.discriminator_part, (samples.to(vectors[self.discriminator].dtype), *more), named)
            return self.game._net(vectors, buffers).call(self.discriminator, call, update=False)

    def score_of(self, outputs: Any) -> Tensor:
        """Return the scores among a discriminator's outputs: one each, before features and scores of classes."""
        leaves = [x for x in tensors_of(outputs) if x.is_floating_point()]
        return next((x for x in leaves if x.numel() == len(x)), leaves[0])

    def calls(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, generator: torch.Generator
    ) -> list[tuple[str, Call]]:
        """Return all calls of the players' modules in one evaluation of the losses, in their order."""
        return _recorded(self.game, vectors, buffers, batch, generator)

    def with_scores(self, change: Callable[[Tensor, Tensor], Tensor]) -> Networks:
        """Return the game with other scores, to measure how the losses depend on them; this one is not changed.

        Args:
            change: returns the new scores from samples, (count, …), and their scores.
        """
        game = copy.copy(self.game)
        vars(game).pop("evaluation_memo", None)  # of a game with these losses

        def rescored(player: str, call: Call, outputs: Any) -> Any:
            if player != self.discriminator or call.part != self.discriminator_part:
                return outputs
            score = None if isinstance(self.game, Adversarial) else self.score_of(outputs)
            replaced = lambda x: change(call.inputs[0], x) if score is None or x is score else x  # noqa: E731
            return map_tensors(replaced, outputs)

        vars(game)["_net"] = partial(game._net, change=rescored)
        return game

    def real(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` real samples, (count, …), spread over all of the data if possible."""
        parts: list[Tensor] = []
        while sum(map(len, parts)) < count:
            parts.append(self._real_batch(generator))
        return torch.cat(parts)[:count]

    def _real_batch(self, generator: torch.Generator) -> Tensor:
        batches = self.game.batches
        if batches is not None and batches.ordered and not isinstance(self.game, Adversarial):
            return self.real_of(self.game.form.flatten(batches.anywhere(self.game.batch, generator)))
        return self.real_of(self.batch(generator))

    def _mode(self, player: str, training: bool, generator: torch.Generator) -> AbstractContextManager:
        module = self.game.modules[player]
        if not training:
            return evaluating(module)
        if not self.game.stochastic:
            return nullcontext()
        return seeded(int(torch.randint(2**62, (), generator=generator)), torch.device("cpu"), self.game.sources)


def gan_of(game: Game) -> Gan:
    """Return the generator and the discriminator of a game.

    Those of `Networks` are found by following one evaluation of the losses: the discriminator is called with real
    samples and with the generator's output.

    Raises:
        InvalidValue: the game has no such players.
    """
    if isinstance(game, Adversarial):
        return _of_adversarial(game)
    if isinstance(game, Networks):
        return _of_networks(game)
    raise InvalidValue("game", type(game).__name__, _ALLOWED)


COLUMNS, EXACT = 64, 1e-4  # columns of a table, at most; error of an affine map, relative to the largest number
ALIKE = 0.8  # smallest correlation at which a tensor counts as the real samples in other units or with noise
_ALLOWED = "a GAN: Adversarial, Conditional, or Networks with a generator and a discriminator"


def _of_adversarial(game: Adversarial) -> Gan:
    def generator_inputs(
        vectors: Vectors, buffers: Buffers, batch: Batch, generator: torch.Generator
    ) -> Sequence[Call]:
        del buffers
        latents = torch.randn(len(batch["latent"]), *game.latent_shape, generator=generator)
        inputs = (latents.to(vectors["generator"].dtype), *game._conditioning(batch, "fake"))
        return [Call("", inputs, {})]

    return Gan(
        game,
        "generator",
        "discriminator",
        "real",
        generator_inputs,
        "",
        lambda batch: (game._conditioning(batch, "real"), {}),
    )


def _of_networks(game: Networks) -> Gan:
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    batch = game.example()
    calls = _recorded(game, vectors, buffers, batch, torch.Generator().manual_seed(0))
    real = {name: x for name, x in batch.items() if x.dim() > 1 and x.dtype != torch.bool}
    for matches in (_contains_real, resembles):
        candidates: list[tuple[str, str, str, Call]] = []
        for judge, call in calls:
            entry = next((n for n, x in real.items() if call.inputs and matches(call.inputs[0], x)), None)
            if entry is None:
                continue
            for player in dict.fromkeys(name for name, _ in calls if name != judge):
                with torch.no_grad():
                    outputs = [_output(game, vectors, buffers, player, each) for name, each in calls if name == player]
                outputs = [x for x in outputs if isinstance(x, Tensor) and x.shape[1:] == real[entry].shape[1:]]
                judged = [each.inputs[0] for name, each in calls if name == judge and each.inputs]
                if any(_contains(x, output) for x in judged for output in outputs):
                    return _gan_of_networks(game, player, judge, entry, call, _units(call.inputs[0], real[entry]))
                if outputs:  # which are changed before they are scored
                    candidates.append((player, judge, entry, call))
        if candidates:
            return _gan_of_networks(game, *candidates[0])
    raise InvalidValue("game", f"Networks of {', '.join(game.players)}", _ALLOWED)


def _gan_of_networks(
    game: Networks, player: str, judge: str, entry: str, call: Call, units: Units | None = None
) -> Gan:
    def generator_inputs(
        vectors: Vectors, buffers: Buffers, batch: Batch, generator: torch.Generator
    ) -> Sequence[Call]:
        calls = _recorded(game, vectors, buffers, batch, generator)
        return [each for name, each in calls if name == player][:1]

    def discriminator_inputs(batch: Batch) -> tuple[Inputs, dict[str, Any]]:
        del batch
        return call.inputs[1:], dict(call.keywords)

    return Gan(game, player, judge, entry, generator_inputs, call.part, discriminator_inputs, units)


def _affine_map(judged: Tensor, samples: Tensor) -> Units:
    """Return the map offset + scale x that best approximates the tensor that is scored for some samples.

    It has one offset and one scale for all numbers, or for tables one of each per column if that fits better.
    """
    first, second = judged.double(), samples.double()
    units = Units(*_moments(first, second))
    if first.dim() == 2 and 1 < first.shape[1] <= COLUMNS and _error(first, second, units) > EXACT:
        columns = Units(*_moments(first, second, 0))
        return columns if _error(first, second, columns) <= EXACT else units
    return units


def _moments(first: Tensor, second: Tensor, *axes: int) -> tuple[Tensor, Tensor]:
    deviation = second.std(*axes)
    scale = torch.where(deviation > 0, first.std(*axes) / deviation, 1.0).clamp(min=1e-12)
    return first.mean(*axes) - scale * second.mean(*axes), scale


def _error(judged: Tensor, samples: Tensor, units: Units) -> float:
    return float((judged - units.natural(samples)).abs().max() / judged.abs().max().clamp(min=1e-12))


def _units(judged: Any, real: Tensor) -> Units | None:
    """Return the map from real samples to scored ones, if it exists and brings mean and deviation closer to 0 and 1.

    Losses that rescale data to usual units, such as pixels from 0 … 255 to −1 … 1, do not rescale generated samples;
    if they do the opposite, it is a mistake.
    """
    if not isinstance(judged, Tensor) or judged.shape != real.shape or torch.equal(judged, real.to(judged.dtype)):
        return None
    units = _affine_map(judged, real)
    first, second = judged.double(), real.double()
    fits = _error(first, second, units) <= EXACT and _unusual(first) < _unusual(second)
    return Units(units.offset.float(), units.scale.float()) if fits else None


def _unusual(x: Tensor) -> float:
    """Return how far numbers are from a mean of 0 and a deviation of 1, averaged over the columns of a table."""
    axes = (0,) if x.dim() == 2 and x.shape[1] <= COLUMNS else ()
    deviation = x.std(*axes).clamp(min=1e-12)
    return float((deviation.log().abs() + x.mean(*axes).abs() / deviation).mean())


def _recorded(
    game: Networks, vectors: Vectors, buffers: Buffers, batch: Batch, generator: torch.Generator
) -> list[tuple[str, Call]]:
    """Return all calls of the players' modules in one evaluation of the losses."""
    calls: list[tuple[str, Call]] = []

    def record(player: str, call: Call) -> None:
        with torch.no_grad():
            copies = tree_map_only(Tensor, torch.clone, (call.inputs, dict(call.keywords)))
        calls.append((player, Call(call.part, *copies)))

    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.enable_grad(), seeded(seed, torch.device("cpu"), game.sources):
        leaves = as_leaves(vectors, game.players)
        net = game._net(leaves, buffers, record=record)
        game._terms(net, game.with_step(batch, torch.zeros((), dtype=torch.int64)), game.players)
    return calls


def _output(game: Networks, vectors: Vectors, buffers: Buffers, player: str, call: Call) -> Any:
    return game._net(vectors, buffers).call(player, call, update=False)


def _contains_real(x: Any, real: Tensor) -> bool:
    """Whether a tensor is the real samples, or contains them (a batch of real and generated samples)."""
    if not isinstance(x, Tensor) or x.shape[1:] != real.shape[1:] or len(x) < len(real) or not x.is_floating_point():
        return False
    return any(torch.equal(part, real.to(x.dtype)) for part in x.split(len(real)) if len(part) == len(real))


def resembles(x: Any, real: Tensor) -> bool:
    """Whether a tensor is some samples after a change: other units, or a little noise."""
    if not isinstance(x, Tensor) or x.shape != real.shape or len(x) < 4 or not x.is_floating_point():
        return False
    first, second = (each.double() - each.double().mean(0) for each in (x, real))
    if x.dim() == 2 and x.shape[1] <= COLUMNS:  # columns of a table have equal weight, whatever their units
        first, second = (each / each.norm(dim=0).clamp(min=1e-12) for each in (first, second))
    first, second = first.flatten(), second.flatten()
    size = float(first.norm() * second.norm())
    return size > 0 and abs(float(first @ second)) > ALIKE * size


def _contains(x: Any, output: Tensor) -> bool:
    """Whether a tensor is some samples, or contains them, up to what random layers change."""
    if not isinstance(x, Tensor) or x.shape[1:] != output.shape[1:] or len(x) < len(output):
        return False
    parts = [part for part in x.split(len(output)) if len(part) == len(output)]
    return any(float((part - output).norm()) <= 0.3 * float(output.norm()) for part in parts)


def _repeated(x: Tensor, count: int) -> Tensor:
    return x[torch.arange(count, device=x.device) % len(x)] if x.dim() else x
