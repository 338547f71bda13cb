"""A global pair of networks trained against an ensemble of local pairs that never hear of it.

Long, because one step of Algorithm 1 is one thing, whether pairs step mapped, one by one or with parameters in common.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Literal

import torch

from detente.autodiff.tracing import is_eager
from detente.errors import InvalidValue, require, unknown
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.schemes.base import Noise, NoisePerBatch, Scheme, StepContext
from detente.schemes.pairs import (
    DISCRIMINATOR,
    GENERATOR,
    PLAYERS,
    alone,
    each,
    mixed,
    shareable,
    sharing,
    stacked,
)
from detente.state import Info, State, Tree, flatten, unflatten

# Parameters of one pair up to which mapping saves time, since it pays the overhead of operations once for all pairs: 5
# pairs of MLPs take 0.65 of the time at 2,000, 0.93 at 70,000, as long at 270,000, and more memory.
MAPPED_UP_TO = 100_000


@dataclass(frozen=True)
class Sgan(Scheme):
    """G₀ against all Dₙᵐˢᵍ, D₀ against all Gₙ: θ₀ moves along Σₙ ∇L_G(G₀, Dₙᵐˢᵍ), ψ₀ along Σₙ ∇L_D(Gₙ, D₀).

    The state's own vectors are the global pair (G₀, D₀); `locals_of` gives the others. In a step, (a) every local pair
    takes a step of `inner`; (b) messengers are cloned from the discriminators that this leaves; (c) each takes
    `messenger_steps` steps against G₀; (d) G₀ takes one step against the sum over the messengers; (e) D₀ takes one
    against the sum over the local generators. Nothing global touches a local pair, not even Gₙ's BatchNorm statistics
    in (e). G₀'s and D₀'s statistics are the mean over the passes of (d) and (e); the losses told are the sums.

    Batches come pair by pair: for each, those of `inner`, one for each step of its messenger, one for its part of (d),
    one for its part of (e), all new as in the paper's pseudocode. The moves in (d) and (e) take the noise of the first
    pair's batches. Pairs are initialised one after the other: of modules instead of factories, all start alike.

    With `share` > 0 (the paper's SW) the first parameters of all discriminators and the last of all generators, those
    next to the images, are one: pairs step in turn, each from the shared parameters, and the optimizer's memory of
    them, that the pair before left. The global pair reads them and does not move them, so that still nothing global
    touches a local pair. (The paper shares "approximately half" and leaves the rest open; this is our reading.)

    A step holds at most as many vectors again as the state's N + 1 pairs (each messenger is made when its turn comes),
    unless networks are so small that all pairs make one mapped step.

    Args:
        inner: how a local pair is trained; the paper alternates.
        pairs: N, number of local pairs, ≥ 1; the paper uses 5 or 10.
        messengers: False trains G₀ against the local discriminators themselves (the paper's simplified SGAN).
        messenger_steps: steps of a messenger against G₀, ≥ 1; the paper's I_D, the discriminator's turns.
        messenger_memory: of the optimizer, "cloned" from the local discriminator's or "fresh"; the paper says nothing.
        share: part of each network's parameters that all pairs share, in [0, 1).

    Source: Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330), Algorithm 1.
    """

    inner: Scheme
    pairs: int = 5
    messengers: bool = True
    messenger_steps: int = 1
    messenger_memory: Literal["cloned", "fresh"] = "cloned"
    share: float = 0.0

    def __post_init__(self) -> None:
        require(self.pairs >= 1, "pairs", self.pairs, "an integer ≥ 1")
        require(self.messenger_steps >= 1, "messenger_steps", self.messenger_steps, "an integer ≥ 1")
        if self.messenger_memory not in ("cloned", "fresh"):
            raise unknown("messenger_memory", self.messenger_memory, ("cloned", "fresh"))
        require(0 <= self.share < 1, "share", self.share, "a number in [0, 1)")

    @property
    def allows_in_place(self) -> bool:
        """Whether the local pairs' scheme never looks back; SGAN itself does not."""
        return self.inner.allows_in_place

    @property
    def traceable(self) -> bool:
        """Whether the local pairs' scheme is."""
        return self.inner.traceable

    def check(self, game: Game, field: Field) -> None:
        """Refuse other players, and fields that look at the whole set or keep a covariance: a pair has no such turn."""
        require(set(game.players) == set(PLAYERS), "game", game.players, "a game of a generator and a discriminator")
        allowed = "with SGAN, a field that neither looks at the whole set nor keeps a covariance"
        require(not (field.prepares or field.covariance_of), "field", type(field).__name__, allowed)
        self.inner.check(game, field)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return, for each pair: the inner scheme's, one for each messenger's step, and two for the global pair."""
        return self.pairs * (self.inner.draws(players) + self.messengers * self.messenger_steps + 2)

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return, for each pair: the inner scheme's, the messenger's, and one block of G₀'s and of D₀'s."""
        up, down = (field.gradient_evaluations((name,), players) for name in PLAYERS)
        messenger = self.messengers * self.messenger_steps * down
        return self.pairs * (self.inner.gradient_evaluations(field, players) + messenger + up + down)

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return the inner scheme's random numbers of every pair, (N, …)."""
        drawn = [self.inner.random(vectors, generator) for _ in range(self.pairs)]
        return {f"local.{name}": torch.stack([one[name] for one in drawn]) for name in drawn[0]}

    def initial(self, play: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the local pairs, (N, …), each as the inner scheme begins, and the field's memories of mixed pairs."""
        device, pairs = vectors[GENERATOR].device, []
        for _ in range(self.pairs):
            at, around = (each(tree, lambda tensor: tensor.to(device)) for tree in play.game.initial(generator))
            optimizers = {name: optimizer.initial(at[name]) for name, optimizer in play.optimizers.items()}
            field, scheme = play.field.initial(play.game, at, around), self.inner.initial(play, at, around, generator)
            local = {"vectors": at, "buffers": around, "field": field, "scheme": scheme, "optimizers": optimizers}
            # A global player faces another opponent in each pair: a field that remembers does so for each.
            facing = {p: play.field.initial(play.game, {**at, p: vectors[p]}, around) for p in PLAYERS}
            if self.share and pairs:
                local |= sharing(self.share, local, pairs[0]["locals"])
            pairs.append({"locals": local, "facing": facing})
        return stacked(pairs)

    def __call__(
        self, play: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after a step of every pair, and one of the global pair."""
        count = len(batches) // self.pairs
        own = {name.removeprefix("local."): noise[0][name] for name in noise[0] if name.startswith("local.")}
        noise = ({name: number for name, number in noise[0].items() if name in PLAYERS}, *noise[1:])
        turns = [{"batch": batch, "noise": numbers} for batch, numbers in zip(batches, noise, strict=True)]
        drawn = [{str(k): turns[n * count + k] for k in range(count)} for n in range(self.pairs)]
        told = self._all_at_once(play, state, own, drawn) or self._one_by_one(play, state, own, drawn)
        # Counts (BatchNorm's of batches) are alike in all pairs.
        sums, means = told["sums"], each(told["means"], lambda x: x.mean(0) if x.is_floating_point() else x[0])
        moves = zip(PLAYERS, noise[count - 2 : count], strict=True)
        numbers = {name: turn[name] for name, turn in moves if name in turn}
        state = replace(state, buffers=means["buffers"], memory={**state.memory, "scheme": told["kept"]})
        state = play.advance(state, sums["field"], numbers)
        if self.share:
            state = self._reading(state, each(told["kept"]["locals"]["vectors"], itemgetter(0)))
        norms = {name: block.norm() for name, block in sums["field"].items()}
        return state.after(), Info(sums["losses"], norms, extra=means["extra"])

    def _all_at_once(self, play: StepContext, state: State, own: Noise, drawn: list[Tree]) -> Tree:
        """Return what all pairs come to by one mapped step, or nothing where that does not pay or cannot be."""
        size = sum(vector.numel() for vector in state.vectors.values())
        if self.share or size > MAPPED_UP_TO or not (play.game.traceable and play.field.traceable and self.traceable):
            return {}
        # BatchNorm writes into its running statistics, which must be as many as what is written.
        around = each(state.buffers, lambda tensor: tensor.expand(self.pairs, *tensor.shape))

        def pair(known: Tree, own: Noise, drawn: Tree, around: Buffers) -> Tree:
            return self._pair(replace(play, in_place=False), replace(state, buffers=around), known, own, drawn)

        try:
            told = torch.vmap(pair)(state.memory["scheme"], own, stacked(drawn), around)
        except (RuntimeError, InvalidValue):  # a module that branches on its data; the game's own errors come again
            return {}
        return {**told, "sums": each(told["sums"], lambda tensor: tensor.sum(0))}

    def _one_by_one(self, play: StepContext, state: State, own: Noise, drawn: list[Tree]) -> Tree:
        """Return what all pairs come to, one after the other, each written into its row of the whole at once."""
        known = state.memory["scheme"]
        plain = is_eager(*flatten(known).values())
        kept = known if play.in_place and plain else each(known, torch.empty_like)
        whole, rows, sums, means = flatten(kept), [], {}, []
        mine = [(each(known, itemgetter(n)), each(own, itemgetter(n)), drawn[n]) for n in range(self.pairs)]
        moved = self._in_turn(play, state, mine) if self.share else []
        if moved:
            state = self._reading(state, moved[0][0].vectors)
        for n, one in enumerate(mine):
            told = self._taught(play, state, one[0], *moved[n], one[2]) if moved else self._pair(play, state, *one)
            for key, row in flatten(told["kept"]).items() if plain else ():
                whole[key][n].copy_(row)
            rows += [] if plain else [told["kept"]]
            sums = {key: sums.get(key, 0) + tensor for key, tensor in flatten(told["sums"]).items()}
            means.append(told["means"])
        kept = kept if plain else stacked(rows)
        return {"kept": kept, "sums": unflatten(sums, told["sums"]), "means": stacked(means)}

    def _in_turn(
        self, play: StepContext, state: State, mine: list[tuple[Tree, Noise, Tree]]
    ) -> list[tuple[State, Tree]]:
        """Return all local pairs after their steps, each taken from the shared parameters of the pair before."""
        moved: list[tuple[State, Tree]] = []
        for known, own, drawn in mine:
            local = known["locals"]
            if moved:
                local = {**local, **sharing(self.share, local, shareable(moved[-1][0]))}
            moved.append(self._stepped(play, state, {**known, "locals": local}, own, drawn))
        last, after = shareable(moved[-1][0]), []
        for local, extra in moved:
            one = sharing(self.share, shareable(local), last)
            memory = {**local.memory, "optimizers": one["optimizers"]}
            after.append((replace(local, vectors=one["vectors"], memory=memory), extra))
        return after

    def _reading(self, state: State, local: Vectors) -> State:
        """Return the global pair with the local pairs' shared parameters."""
        return replace(state, vectors=sharing(self.share, {"vectors": state.vectors}, {"vectors": local})["vectors"])

    def _pair(self, play: StepContext, state: State, known: Tree, own: Noise, drawn: Tree) -> Tree:
        """Return what one pair keeps, and what it tells the global pair of `state`, which is not moved."""
        return self._taught(play, state, known, *self._stepped(play, state, known, own, drawn), drawn)

    def _stepped(self, play: StepContext, state: State, known: Tree, own: Noise, drawn: Tree) -> tuple[State, Tree]:
        """Return a local pair after its step, and what that told."""
        batches, noise = (tuple(turn[name] for turn in drawn.values()) for name in ("batch", "noise"))
        count = self.inner.draws(play.game.players)
        first = ({**noise[0], **own}, *noise[1:count])
        local, info = self.inner(play, alone(known["locals"], state.t), batches[:count], first)
        extra = {f"local_{name}": number * 1.0 for name, number in {**info.losses, **info.extra}.items()}
        return replace(local, t=state.t), extra

    def _taught(self, play: StepContext, state: State, known: Tree, local: State, extra: Tree, drawn: Tree) -> Tree:
        """Return what a pair keeps after its step, and what it tells the global pair, its messenger between them."""
        batches, noise = (tuple(turn[name] for turn in drawn.values()) for name in ("batch", "noise"))
        count = self.inner.draws(play.game.players)
        play = replace(play, in_place=False)  # a clone must not touch its original
        messenger = mixed(local, GENERATOR, state, local.memory["field"])
        if self.messenger_memory == "fresh":
            fresh = {name: play.optimizers[name].initial(vector) for name, vector in messenger.vectors.items()}
            messenger = replace(messenger, memory={**messenger.memory, "optimizers": fresh})
        for k in range(count, len(batches) - 2):
            seen, messenger = play.evaluate(messenger, batches[k], (DISCRIMINATOR,))
            messenger = play.advance(messenger, {DISCRIMINATOR: seen.field[DISCRIMINATOR]}, noise[k])
        told = {}
        for name, rival, batch in zip(PLAYERS, (messenger, local), batches[-2:], strict=True):
            told[name] = play.evaluate(mixed(rival, name, state, known["facing"][name]), batch, (name,))
        return {
            "kept": {
                "locals": {"vectors": local.vectors, "buffers": local.buffers, **local.memory},
                "facing": {name: told[name][1].memory["field"] for name in PLAYERS},
            },
            "sums": {key: {name: vars(told[name][0])[key][name] for name in PLAYERS} for key in ("field", "losses")},
            "means": {
                "buffers": {name: told[name][0].buffers[name] for name in state.buffers},
                "extra": extra,
            },
        }
