"""A GAN with the library's losses in place of the user's, on separate batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from detente.autodiff.engines import as_leaf
from detente.data.base import Data
from detente.errors import require
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.games.scores import _ends_in_sigmoid
from detente.modules.net import Call


def separated(game: Networks, gan: Any) -> Adversarial:
    """Return the GAN of a generator and a discriminator, with the non-saturating losses, on separate batches.

    Args:
        game: a game with the user's losses.
        gan: its players, a `detente.games.gan.Gan`.

    Raises:
        InvalidValue: the losses are ours, the networks have other inputs than latents or samples, or are no GAN's.
    """
    require(not isinstance(game, Adversarial), "separate", True, "False: the losses of this game are not your own")
    players = game.arguments["players"]
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    call = gan.generator_inputs(vectors, buffers, game.draw(generator), generator)[0]
    plain = not call.part and not gan.discriminator_part and not call.keywords and len(call.inputs) == 1
    latent = call.inputs[0] if plain else None
    allowed = "a generator of latents alone, and a discriminator of samples alone, both called themselves"
    simple = isinstance(latent, Tensor) and latent.is_floating_point()
    require(simple and gan.discriminator_inputs(game.draw(generator)) == ((), {}), "separate", True, allowed)
    assert isinstance(latent, Tensor)
    members = {name: players.get(name) for name in (gan.generator, gan.discriminator)}
    known = isinstance(game.data, Data) and gan.real_entry == "real" and gan.units is None
    data: Any = game.data if known else EntryOf(game, gan)
    make = partial(
        Adversarial,
        members[gan.generator],
        members[gan.discriminator],
        data,
        tuple(latent.shape[1:]),
        batch=len(game.example()[gan.real_entry]),
    )
    separated = make(scores="probabilities") if ends_in_sigmoid(gan) else make()
    if isinstance(data, EntryOf):
        separated.batches, separated.restores_order = game.batches, game.restores_order
    return separated


def ends_in_sigmoid(gan: Any) -> bool:
    """Whether the discriminator ends in a sigmoid."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = gan.game.initial(generator)
    leaves = {name: as_leaf(vector) for name, vector in vectors.items()}
    real = gan.real(2, generator)
    inputs, keywords = gan.discriminator_inputs(gan.game.draw(generator))
    inputs = tuple(x[:2] if isinstance(x, Tensor) and x.dim() else x for x in inputs)
    keywords = {name: x[:2] if isinstance(x, Tensor) and x.dim() else x for name, x in keywords.items()}
    try:
        with torch.enable_grad(), torch.random.fork_rng(()):
            call = Call(gan.discriminator_part, (real.to(leaves[gan.discriminator].dtype), *inputs), keywords)
            output = gan.game._net(leaves, buffers).call(gan.discriminator, call, update=False)
    except Exception:  # noqa: BLE001  # a discriminator of whole batches
        return False
    return isinstance(output, Tensor) and _ends_in_sigmoid(output.grad_fn)


class EntryOf(Data):
    """The real samples in batches of any form.

    Args:
        game: the game whose batches they are in.
        gan: its players, a `detente.games.gan.Gan`.
    """

    def __init__(self, game: Networks, gan: Any) -> None:
        self.game, self.entry, self._gan = game, gan.real_entry, gan

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.game.example()[self.entry].shape[1:])

    def peek(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the samples of a batch for a measurement; the batches of training do not change."""
        batches = self.game.batches
        assert batches is not None
        batch = self.game.complete(batches.peek(self.game.batch, generator), generator)
        return {"real": self._gan.real_of(batch).float()}

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        parts: list[Tensor] = []
        while sum(map(len, parts)) < count:
            parts.append(self._gan.real_of(self.game.draw(generator)).float())
        return {"real": torch.cat(parts)[:count]}
