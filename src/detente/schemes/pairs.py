"""Pairs of a generator and a discriminator as SGAN keeps them: stacked, mixed, and with parameters in common."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor

from detente.errors import require
from detente.state import State, Tree, flatten, unflatten

GENERATOR, DISCRIMINATOR = PLAYERS = ("generator", "discriminator")
KEPT = ("field", "scheme", "optimizers")  # what a pair remembers, named as in a state's memory


def locals_of(state: State) -> list[State]:
    """Return the local pairs of a state of SGAN as states of their own, as if each had been trained alone."""
    memory = state.memory["scheme"]
    while "locals" not in memory:
        require("inner" in memory, "state", sorted(memory), "the state of a training with SGAN, or one around it")
        memory = memory["inner"]
    pairs = len(memory["locals"]["vectors"][GENERATOR])
    return [alone(each(memory["locals"], itemgetter(n)), state.t) for n in range(pairs)]


def mixed(pair: State, player: str, others: State, field: Tree) -> State:
    """Return a pair in which one player is another pair's, parameters and buffers."""
    vectors = {**pair.vectors, player: others.vectors[player]}
    buffers = {name: (others if name == player else pair).buffers[name] for name in pair.buffers}
    return State(pair.t, vectors, buffers, {**pair.memory, "field": field})


def alone(tree: Tree, t: Tensor) -> State:
    """Return what is kept of a pair as a state of its own."""
    return State(t, tree["vectors"], tree["buffers"], {name: tree[name] for name in KEPT})


def shareable(state: State) -> Tree:
    """Return the parts of a pair that may be shared."""
    return {"vectors": state.vectors, "optimizers": state.memory["optimizers"]}


def each(tree: Tree, change: Callable[[Tensor], Tensor]) -> Tree:
    """Return a tree with every tensor changed."""
    return {key: change(value) if isinstance(value, Tensor) else each(value, change) for key, value in tree.items()}


def stacked(trees: list[Tree]) -> Tree:
    """Return several trees as one, whose tensors have a row for each."""
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.stack([flat[key] for flat in flats]) for key in flats[0]}, trees[0])


def sharing(share: float, mine: Tree, others: Tree) -> Tree:
    """Return a pair's vectors, and optimizers' memory where there is any, with shared parameters from another pair.

    Args:
        share: part of each network's parameters, the discriminator's first and the generator's last.
        mine: the pair, as `shareable` shows it.
        others: the other pair, alike.
    """

    def joined(player: str, own: Tensor, other: Tensor) -> Tensor:
        size = mine["vectors"][player].numel()
        count = int(share * size)
        if own.shape != (size,):
            return own
        if player == DISCRIMINATOR:
            return torch.cat([other[:count], own[count:]])
        return torch.cat([own[: size - count], other[size - count :]])

    def both(player: str, own: Tree | Tensor, other: Tree | Tensor) -> Tree | Tensor:
        if isinstance(own, Tensor):
            assert isinstance(other, Tensor)
            return joined(player, own, other)
        assert isinstance(other, dict)
        return {key: both(player, value, other[key]) for key, value in own.items()}

    return {
        kind: {player: both(player, mine[kind][player], others[kind][player]) for player in mine[kind]}
        for kind in ("vectors", "optimizers")
        if kind in mine
    }
