"""A user's own losses, with penalties added to the discriminator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.data.batch_form import Form
from detente.errors import require
from detente.games.scores import logits_of
from detente.games.terms import Losses, takes_step
from detente.modules.net import DirectNet, Net, PlayerCall
from detente.modules.rescaled import Units
from detente.nested import tensors_of
from detente.penalties.base import Penalty


@dataclass(frozen=True)
class Roles:
    """The players and entries in a user's own losses.

    Args:
        generator: name of the player that makes samples.
        discriminator: name of the player that scores them.
        part: the discriminator's method or submodule that is called; "" for the module itself.
        real_entry: name of the real samples in a batch.
        form: the form of the batches.
        probabilities: whether the discriminator's scores are probabilities.
        units: the map by which the losses rescale real samples to the units of generated ones, if they do.
    """

    generator: str
    discriminator: str
    part: str
    real_entry: str
    form: Form
    probabilities: bool = False
    units: Units | None = None


class PenalisedLosses:
    """A user's losses, in which the discriminator's loss also has penalties.

    A penalty is taken at the real samples of the batch, with the other inputs that the discriminator got with them, and
    at the generator's output. It does not change the discriminator's buffers.

    Args:
        losses: the user's function of (net, batch, t) or (net, batch).
        roles: the players and entries.
        penalties: the penalties; they must have no memory.
    """

    def __init__(self, losses: Losses, roles: Roles, penalties: Sequence[Penalty]) -> None:
        self.losses, self.roles, self.penalties = losses, roles, tuple(penalties)
        self.count = 2 + takes_step(losses)

    def __call__(self, net: Any, batch: Any, t: Tensor) -> Mapping[str, Any]:
        """Return all losses."""
        if isinstance(net, DirectNet):  # only lazy layers get their shapes
            return self.losses(*(net, batch, t)[: self.count])
        watched = _Watched(net, self.roles)
        returned = dict(self.losses(*(watched, batch, t)[: self.count]))
        loss = returned[self.roles.discriminator]

        def total() -> dict[str, Any]:
            value = loss() if callable(loss) and not isinstance(loss, Tensor) else loss
            terms = dict(value) if isinstance(value, Mapping) else {"own": value}
            return terms | self._terms(net, watched, self.roles.form.flatten(batch)[self.roles.real_entry], t)

        returned[self.roles.discriminator] = total
        return returned

    def _terms(self, net: Net, watched: _Watched, real: Tensor, t: Tensor) -> dict[str, Tensor]:
        fakes = [x for x in watched.made if x.shape[1:] == real.shape[1:]]
        allowed = "losses that call the generator, and the discriminator with real samples"
        require(len(fakes) > 0, "penalties", "losses without generated samples", allowed)
        fake = fakes[0][: len(real)]
        real = real.to(fake.dtype)[: len(fake)]
        real = real if self.roles.units is None else self.roles.units.natural(real)
        judged = [call for call in watched.judged if _has_shape(call[0], real)]
        others, keywords = (judged[0][0][1:], judged[0][1]) if judged else ((), {})

        def score(x: Tensor) -> Tensor:
            judge = PlayerCall(net, self.roles.discriminator, self.roles.part, update=False)
            leaves = list(tensors_of(judge(x, *others, **keywords)))
            leaves = [y for y in leaves if y.is_floating_point()]
            one_each = [y for y in leaves if y.numel() == len(y)]
            scores = (one_each or leaves)[0]
            return logits_of(scores) if self.roles.probabilities else scores

        terms = {}
        for penalty in self.penalties:
            noise: dict[str, Tensor] = {}
            if draws(penalty, real.shape):
                noise = penalty.draw(real.shape, seeded_by_batch(real.device))
            terms[type(penalty).__name__] = penalty.at(t, real.dtype)(score, real, fake, noise)
        return terms


@dataclass(frozen=True)
class InStandardUnits(Penalty):
    """Another penalty, on the slope of the discriminator in standard units instead of the data's.

    Args:
        penalty: the penalty.
        units: the data's units.
    """

    penalty: Penalty
    units: Units

    @property
    def scheduled(self) -> bool:
        """Whether the penalty depends on the step."""
        return self.penalty.scheduled

    def at(self, t: Tensor, dtype: torch.dtype | None = None, buffers: Any = None) -> InStandardUnits:
        """Return the penalty as it is at one step."""
        return InStandardUnits(self.penalty.at(t, dtype, buffers), self.units)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the penalty's random numbers."""
        return self.penalty.draw(shape, generator)

    def initial_buffers(self, like: Tensor) -> dict[str, Tensor]:
        """Return what the penalty remembers."""
        return self.penalty.initial_buffers(like)

    def updated_buffers(self, buffers: Mapping[str, Tensor], real: Any, fake: Any) -> dict[str, Tensor]:
        """Return what the penalty remembers after one evaluation."""
        return self.penalty.updated_buffers(buffers, real, fake)

    def __call__(self, score: Any, real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return the penalty of u ↦ D(offset + scale u)."""
        standard = self.units.standard
        return self.penalty(lambda u: score(self.units.natural(u)), standard(real), standard(fake), noise)


def draws(part: Any, shape: torch.Size) -> bool:
    """Whether a penalty or a filter needs random numbers."""
    return bool(part.draw(torch.Size((2, *shape[1:])), torch.Generator()))


def seeded_by_batch(device: torch.device) -> torch.Generator:
    """Return a generator seeded by torch's global one, which a game seeds for each batch."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))


class _Watched:
    """Stands in for `Net`, and stores the generator's outputs and the discriminator's inputs."""

    def __init__(self, net: Net, roles: Roles) -> None:
        self._net, self._roles = net, roles
        self.made: list[Tensor] = []
        self.judged: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._net, name)
        return _WatchedCall(attribute, name, self) if isinstance(attribute, PlayerCall) else attribute

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_net", "_roles", "made", "judged"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._net, name, value)


class _WatchedCall:
    """Stands in for a player's call."""

    def __init__(self, call: PlayerCall, player: str, watched: _Watched) -> None:
        self._call, self._player, self._watched = call, player, watched

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        output = self._call(*inputs, **keywords)
        if self._player == self._watched._roles.generator and isinstance(output, Tensor):
            self._watched.made.append(output)
        if self._player == self._watched._roles.discriminator and inputs:
            self._watched.judged.append((inputs, keywords))
        return output

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._call, name)
        return _WatchedCall(attribute, self._player, self._watched) if isinstance(attribute, PlayerCall) else attribute

    def __getitem__(self, key: Any) -> Any:
        return _WatchedCall(self._call[key], self._player, self._watched)

    def __iter__(self) -> Any:
        return iter(self._call)

    def __len__(self) -> int:
        return len(self._call)


def _has_shape(inputs: tuple[Any, ...], real: Tensor) -> bool:
    return isinstance(inputs[0], Tensor) and inputs[0].shape == real.shape
