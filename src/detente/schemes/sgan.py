"""A global pair of networks trained against an ensemble of local pairs that are independent of it.

This module is long because it holds all forms of one step of Algorithm 1: mapped, pair by pair, and with shared
parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Literal

import torch

from detente.autodiff import Evaluation
from detente.autodiff.tracing import is_eager
from detente.errors import InvalidValue, require, unknown
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import Ranks, gathered, mean_over_ranks, ranks, together
from detente.schemes.base import Noise, NoisePerBatch, Scheme, StepContext, step_info
from detente.schemes.pairs import (
    PLAYERS,
    as_state,
    as_tree,
    map_tensors,
    stack_trees,
    with_player_of,
    with_shared_parameters,
)
from detente.state import Info, State, Tree, flatten, unflatten

# Up to this number of parameters per pair, mapping saves time, since all pairs share the overhead of each operation: 5
# pairs of MLPs take 0.65 of the time at 2,000, 0.93 at 70,000 and the same time at 270,000, but more memory.
MAPPED_UP_TO = 100_000
OfPair = Callable[[StepContext, State, Tree, Tree], Tree]


@dataclass(frozen=True)
class Sgan(Scheme):
    """G₀ against all Dₙᵐˢᵍ, D₀ against all Gₙ: θ₀ moves along Σₙ ∇L_G(G₀, Dₙᵐˢᵍ), ψ₀ along Σₙ ∇L_D(Gₙ, D₀).

    The state's own vectors are the global pair (G₀, D₀); `locals_of` returns the local pairs. In a step, (a) each local
    pair takes a step of `inner`; (b) a messenger is cloned from each local discriminator; (c) each messenger takes
    `messenger_steps` steps against G₀; (d) G₀ takes one step against the sum over the messengers; (e) D₀ takes one
    against the sum over the local generators. The global pair never changes a local pair, not even Gₙ's BatchNorm
    statistics in (e). G₀'s and D₀'s statistics are the mean over the passes of (d) and (e); the reported losses are the
    sums.

    Each pair has its own batches: those of `inner`, one per step of its messenger, one for its part of (d) and one for
    its part of (e), all new as in the paper's pseudocode. The moves in (d) and (e) use the noise of the first pair's
    batches. Pairs are initialised one after the other; if the game was given modules instead of factories, all pairs
    start equal.

    With `share` > 0 (the paper's SW), the first parameters of all discriminators and the last of all generators, those
    next to the images, are shared: pairs step in turn, each from the shared parameters, and the optimizer's memory of
    them, that the previous pair left. The global pair uses the shared parameters but does not move them, so it still
    never changes a local pair. (The paper shares "approximately half" and does not specify more; this is our reading.)

    Where the pairs can be divided by the number of ranks (`detente.ranks`), each rank has pairs of its own, with whole
    batches, and a step sends one message: the sums for the global pair. Otherwise each rank evaluates its rows for all.

    A step needs at most as much additional memory for vectors as the state's N + 1 pairs (each messenger is created at
    its turn), unless the networks are so small that all pairs make one mapped step.

    Args:
        inner: the scheme of a local pair; the paper alternates.
        pairs: N, number of local pairs, ≥ 1; the paper uses 5 or 10.
        messengers: if False, G₀ trains against the local discriminators directly (the paper's simplified SGAN).
        messenger_steps: steps of a messenger against G₀, ≥ 1; the paper's I_D, the discriminator's turns.
        messenger_memory: the messenger's optimizer memory: "cloned" from the local discriminator or "fresh"; the paper
            does not specify it.
        share: fraction of each network's parameters that all pairs share, in [0, 1).
        players: names of the generator and the discriminator.

    Source: Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330), Algorithm 1.
    """

    inner: Scheme
    pairs: int = 5
    messengers: bool = True
    messenger_steps: int = 1
    messenger_memory: Literal["cloned", "fresh"] = "cloned"
    share: float = 0.0
    players: tuple[str, str] = PLAYERS

    def __post_init__(self) -> None:
        require(self.pairs >= 1, "pairs", self.pairs, "an integer ≥ 1")
        require(self.messenger_steps >= 1, "messenger_steps", self.messenger_steps, "an integer ≥ 1")
        if self.messenger_memory not in ("cloned", "fresh"):
            raise unknown("messenger_memory", self.messenger_memory, ("cloned", "fresh"))
        require(0 <= self.share < 1, "share", self.share, "a number in [0, 1)")

    @property
    def allows_in_place(self) -> bool:
        """Whether the scheme of the local pairs allows it; SGAN itself does."""
        return self.inner.allows_in_place

    @property
    def traceable(self) -> bool:
        """Whether the scheme of the local pairs is traceable."""
        return self.inner.traceable

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` for other players, and for fields that prepare or estimate a covariance."""
        allowed = "a game of a generator and a discriminator, or of two sides"
        require(set(game.players) == set(self.players), "game", game.players, allowed)
        allowed = "with SGAN, a field that neither reads the whole dataset nor estimates a covariance"
        require(not (field.prepares or field.covariance_of), "field", type(field).__name__, allowed)
        allowed = "False with SGAN, whose pairs are divided among ranks instead"
        require((current := ranks()) is None or not current.shard, "shard", True, allowed)
        self.inner.check(game, field)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return, for each pair: the inner scheme's batches, one per messenger step, and two for the global pair."""
        return self.pairs * (self.inner.draws(players) + self.messengers * self.messenger_steps + 2)

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return, for each pair: the cost of the inner scheme, of the messenger, and of a block each for G₀ and D₀."""
        generator, discriminator = (field.gradient_evaluations((name,), players) for name in self.players)
        messenger = self.messengers * self.messenger_steps * discriminator
        return self.pairs * (self.inner.gradient_evaluations(field, players) + messenger + generator + discriminator)

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return the inner scheme's random numbers for all pairs, (N, …)."""
        numbers = [self.inner.random(vectors, generator) for _ in range(self.pairs)]
        return {f"local.{name}": torch.stack([of_pair[name] for of_pair in numbers]) for name in numbers[0]}

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the initial local pairs, (N, …), and the field's memories for the global players in each pair."""
        device, pairs = next(iter(vectors.values())).device, []
        for _ in range(self.pairs):
            point, pair_buffers = (
                map_tensors(tree, lambda tensor: tensor.to(device)) for tree in context.game.initial(generator)
            )
            optimizers = {name: optimizer.initial(point[name]) for name, optimizer in context.optimizers.items()}
            field, scheme = (
                context.field.initial(context.game, point, pair_buffers),
                self.inner.initial(context, point, pair_buffers, generator),
            )
            local = {
                "vectors": point,
                "buffers": pair_buffers,
                "field": field,
                "scheme": scheme,
                "optimizers": optimizers,
            }
            # A global player has a different opponent in each pair, so the field needs a memory for each.
            field_memories = {
                p: context.field.initial(context.game, {**point, p: vectors[p]}, pair_buffers) for p in self.players
            }
            if self.share and pairs:
                local |= with_shared_parameters(self.share, self.players[1], local, pairs[0]["locals"])
            pairs.append({"locals": local, "facing": field_memories})
        current = ranks()
        return stack_trees(pairs) if current is None else self.memory_of_rank(stack_trees(pairs), current)

    def _divides_pairs(self, ranks: Ranks) -> bool:
        """Whether each rank has pairs of its own; pairs that share parameters step in turn."""
        return self.pairs % ranks.count == 0 and not self.share

    def _pairs_of(self, ranks: Ranks) -> slice:
        own = self.pairs // ranks.count
        return slice(ranks.rank * own, (ranks.rank + 1) * own)

    def batches_of_rank(self, batches: tuple[Batch, ...], ranks: Ranks, parts: int) -> tuple[Batch, ...]:
        """Return the whole batches of this rank's pairs, or its rows of all batches."""
        if not self._divides_pairs(ranks):
            return super().batches_of_rank(batches, ranks, parts)
        count, own = len(batches) // self.pairs, self._pairs_of(ranks)
        return batches[own.start * count : own.stop * count]

    def memory_of_rank(self, memory: Tree, ranks: Ranks) -> Tree:
        """Return this rank's pairs."""
        return map_tensors(memory, itemgetter(self._pairs_of(ranks))) if self._divides_pairs(ranks) else memory

    def whole_memory(self, memory: Tree, ranks: Ranks) -> Tree:
        """Return the pairs of all ranks."""
        if not self._divides_pairs(ranks):
            return memory
        return map_tensors(memory, lambda own: gathered(own, ranks).flatten(0, 1))

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after a step of every pair, and one of the global pair."""
        count = len(noise) // self.pairs
        inner_noise = {name.removeprefix("local."): noise[0][name] for name in noise[0] if name.startswith("local.")}
        noise = ({name: number for name, number in noise[0].items() if name in self.players}, *noise[1:])
        current = ranks()
        if current is None or not self._divides_pairs(current):
            sums, means, pairs_memory = self._all_pairs(context, state, inner_noise, batches, noise)
        else:
            own = self._pairs_of(current)
            inner_noise = map_tensors(inner_noise, itemgetter(own))
            own_noise = noise[own.start * count : own.stop * count]
            with together(None):
                results = replace(self, pairs=own.stop - own.start)._all_pairs(
                    context, state, inner_noise, batches, own_noise
                )
            sums, means, pairs_memory = _over_ranks(*results, current)
        moves = zip(self.players, noise[count - 2 : count], strict=True)
        numbers = {name: turn[name] for name, turn in moves if name in turn}
        state = replace(state, buffers=means["buffers"], memory={**state.memory, "scheme": pairs_memory})
        state = context.advance(state, sums["field"], numbers)
        if self.share:
            state = self._with_shared_of_locals(state, map_tensors(pairs_memory["locals"]["vectors"], itemgetter(0)))
        return state.after(), step_info(Evaluation(sums["field"], sums["losses"], {}, means["extra"]))

    def _all_pairs(
        self, context: StepContext, state: State, inner_noise: Noise, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[Tree, Tree, Tree]:
        """Return sums and means over all pairs, for the global pair, and the pairs' new memory."""
        count = len(batches) // self.pairs
        turns = [{"batch": batch, "noise": numbers} for batch, numbers in zip(batches, noise, strict=True)]
        inputs = [{str(k): turns[n * count + k] for k in range(count)} for n in range(self.pairs)]
        for n, own in enumerate(inputs):
            own["0"] = {**own["0"], "noise": {**own["0"]["noise"], **map_tensors(inner_noise, itemgetter(n))}}
        pair, memory, extra = self._pair, state.memory["scheme"], []
        if self.share:
            pair = self._global_gradients
            memory, extra = self._local_steps_in_turn(context, state, memory, inputs)
            state = self._with_shared_of_locals(state, map_tensors(memory["locals"]["vectors"], itemgetter(0)))
        results = self._mapped(pair, context, state, memory, inputs) or self._in_turn(
            pair, context, state, memory, inputs
        )
        if extra:
            results["means"]["extra"] = stack_trees(extra)
        # Integers (BatchNorm's count of batches) are equal in all pairs.
        means = map_tensors(results["means"], lambda x: x.mean(0) if x.is_floating_point() else x[0])
        return results["sums"], means, results["memory"]

    def _mapped(self, pair: OfPair, context: StepContext, state: State, memory: Tree, inputs: list[Tree]) -> Tree:
        """Return the results of all pairs from one mapped call; empty if mapping is slower or not possible."""
        size = sum(vector.numel() for vector in state.vectors.values())
        if (
            size > MAPPED_UP_TO
            or not (context.game.traceable and context.field.traceable and self.traceable)
            or not all(optimizer.traceable for optimizer in context.optimizers.values())
        ):
            return {}
        # BatchNorm writes into its running statistics, so each pair needs its own copy.
        buffers = map_tensors(state.buffers, lambda tensor: tensor.expand(self.pairs, *tensor.shape))

        def of_pair(memory: Tree, inputs: Tree, buffers: Buffers) -> Tree:
            return pair(replace(context, in_place=False), replace(state, buffers=buffers), memory, inputs)

        try:
            results = torch.vmap(of_pair)(memory, stack_trees(inputs), buffers)
        except (RuntimeError, InvalidValue):  # a module branches on its data; the game's own errors are raised again
            return {}
        return {**results, "sums": map_tensors(results["sums"], lambda tensor: tensor.sum(0))}

    def _in_turn(self, pair: OfPair, context: StepContext, state: State, memory: Tree, inputs: list[Tree]) -> Tree:
        """Return the results of all pairs, computed one after the other; each is copied at once into its row."""
        plain = is_eager(*flatten(memory).values())
        new_memory = memory if context.in_place and plain else map_tensors(memory, torch.empty_like)
        stacked, rows, sums, means = flatten(new_memory), [], {}, []
        for n, own_inputs in enumerate(inputs):
            result = pair(context, state, map_tensors(memory, itemgetter(n)), own_inputs)
            for key, row in flatten(result["memory"]).items() if plain else ():
                stacked[key][n].copy_(row)
            rows += [] if plain else [result["memory"]]
            sums = {key: sums.get(key, 0) + tensor for key, tensor in flatten(result["sums"]).items()}
            means.append(result["means"])
        new_memory = new_memory if plain else stack_trees(rows)
        return {"memory": new_memory, "sums": unflatten(sums, result["sums"]), "means": stack_trees(means)}

    def _local_steps_in_turn(
        self, context: StepContext, state: State, memory: Tree, inputs: list[Tree]
    ) -> tuple[Tree, list[Tree]]:
        """Return the pairs' memory after their local steps; each starts from the previous pair's shared parameters."""
        discriminator, stepped, extras = self.players[1], [], []
        for n, own_inputs in enumerate(inputs):
            local = map_tensors(memory["locals"], itemgetter(n))
            if stepped:
                local |= with_shared_parameters(self.share, discriminator, local, stepped[-1])
            after, extra = self._local_step(context, state, local, own_inputs)
            stepped.append(as_tree(after))
            extras.append(extra)
        last = stepped[-1]
        stepped = [local | with_shared_parameters(self.share, discriminator, local, last) for local in stepped]
        return {**memory, "locals": stack_trees(stepped)}, extras

    def _with_shared_of_locals(self, state: State, local: Vectors) -> State:
        """Return the global pair with the local pairs' shared parameters."""
        return replace(
            state,
            vectors=with_shared_parameters(self.share, self.players[1], {"vectors": state.vectors}, {"vectors": local})[
                "vectors"
            ],
        )

    def _pair(self, context: StepContext, state: State, memory: Tree, inputs: Tree) -> Tree:
        """Return one pair's new memory, and its contribution to the global pair of `state`, which does not move."""
        local, extra = self._local_step(context, state, memory["locals"], inputs)
        results = self._global_gradients(context, state, {**memory, "locals": as_tree(local)}, inputs)
        results["means"]["extra"] = extra
        return results

    def _local_step(self, context: StepContext, state: State, local: Tree, inputs: Tree) -> tuple[State, Tree]:
        """Return a local pair after its step, and the statistics of the step."""
        batches, noise = (tuple(turn[name] for turn in inputs.values()) for name in ("batch", "noise"))
        count = self.inner.draws(context.game.players)
        after, info = self.inner(context, as_state(local, state.t), batches[:count], noise[:count])
        return after, {f"local_{name}": number * 1.0 for name, number in {**info.losses, **info.extra}.items()}

    def _global_gradients(self, context: StepContext, state: State, memory: Tree, inputs: Tree) -> Tree:
        """Return a pair's memory after its local step, and its contribution to the global pair, with its messenger."""
        batches, noise = (tuple(turn[name] for turn in inputs.values()) for name in ("batch", "noise"))
        count, local = self.inner.draws(context.game.players), as_state(memory["locals"], state.t)
        context = replace(context, in_place=False)  # a clone must not change its original
        generator, discriminator = self.players
        messenger = with_player_of(local, generator, state, local.memory["field"])
        if self.messenger_memory == "fresh":
            fresh = {name: context.optimizers[name].initial(vector) for name, vector in messenger.vectors.items()}
            messenger = replace(messenger, memory={**messenger.memory, "optimizers": fresh})
        for k in range(count, len(batches) - 2):
            evaluation, messenger = context.evaluate(messenger, batches[k], (discriminator,))
            messenger = context.advance(messenger, {discriminator: evaluation.field[discriminator]}, noise[k])
        evaluations = {}
        for name, opponent, batch in zip(self.players, (messenger, local), batches[-2:], strict=True):
            evaluations[name] = context.evaluate(
                with_player_of(opponent, name, state, memory["facing"][name]), batch, (name,)
            )
        return {
            "memory": {
                "locals": memory["locals"],
                "facing": {name: evaluations[name][1].memory["field"] for name in self.players},
            },
            "sums": {
                "field": {name: evaluations[name][0].field[name] for name in self.players},
                "losses": {
                    key: loss for name in self.players for key, loss in evaluations[name][0].losses_of((name,)).items()
                },
            },
            "means": {
                "buffers": {
                    name: evaluations.get(name, evaluations[discriminator])[0].buffers[name] for name in state.buffers
                },
            },
        }


def _over_ranks(sums: Tree, means: Tree, pairs_memory: Tree, current: Ranks) -> tuple[Tree, Tree, Tree]:
    """Return sums and means over the pairs of all ranks, in one message, and this rank's memory."""
    both = {"sums": map_tensors(sums, lambda of_rank: of_rank * current.count), "means": means}
    flat = flatten(both)
    both = unflatten(dict(zip(flat, mean_over_ranks([*flat.values()]), strict=True)), both)
    return both["sums"], both["means"], pairs_memory
