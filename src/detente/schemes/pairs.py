"""Pairs of a generator and a discriminator as SGAN keeps them: stacked, mixed, and with parameters in common."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor

from detente.errors import require
from detente.state import State, Tree, flatten, unflatten

GENERATOR, DISCRIMINATOR = PLAYERS = ("generator", "discriminator")
MEMORY_KEYS = ("field", "scheme", "optimizers")  # what a pair remembers, named as in a state's memory


def locals_of(state: State) -> list[State]:
    """Return the local pairs of a state of SGAN as states of their own, as if each had been trained alone."""
    memory = state.memory["scheme"]
    while "locals" not in memory:
        require("inner" in memory, "state", sorted(memory), "the state of a training with SGAN, or one around it")
        memory = memory["inner"]
    pairs = len(memory["locals"]["vectors"][GENERATOR])
    return [as_state(map_tensors(memory["locals"], itemgetter(n)), state.t) for n in range(pairs)]


def with_player_of(pair: State, player: str, others: State, field: Tree) -> State:
    """Return a pair in which one player is another pair's, parameters and buffers."""
    vectors = {**pair.vectors, player: others.vectors[player]}
    buffers = {name: (others if name == player else pair).buffers[name] for name in pair.buffers}
    return State(pair.t, vectors, buffers, {**pair.memory, "field": field})


def as_state(tree: Tree, t: Tensor) -> State:
    """Return what is kept of a pair as a state of its own."""
    return State(t, tree["vectors"], tree["buffers"], {name: tree[name] for name in MEMORY_KEYS})


def shareable_parts(state: State) -> Tree:
    """Return the parts of a pair that may be shared."""
    return {"vectors": state.vectors, "optimizers": state.memory["optimizers"]}


def map_tensors(tree: Tree, change: Callable[[Tensor], Tensor]) -> Tree:
    """Return a tree with every tensor changed."""
    return {
        key: change(value) if isinstance(value, Tensor) else map_tensors(value, change) for key, value in tree.items()
    }


def stack_trees(trees: list[Tree]) -> Tree:
    """Return several trees as one, whose tensors have a row for each."""
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.stack([flat[key] for flat in flats]) for key in flats[0]}, trees[0])


def with_shared_parameters(share: float, pair: Tree, other_pair: Tree) -> Tree:
    """Return a pair's vectors, and optimizers' memory where there is any, with shared parameters from another pair.

    Args:
        share: part of each network's parameters, the discriminator's first and the generator's last.
        pair: the pair, as `shareable_parts` shows it.
        other_pair: the other pair, alike.
    """

    def share_tensor(player: str, tensor: Tensor, other_tensor: Tensor) -> Tensor:
        size = pair["vectors"][player].numel()
        count = int(share * size)
        if tensor.shape != (size,):
            return tensor
        if player == DISCRIMINATOR:
            return torch.cat([other_tensor[:count], tensor[count:]])
        return torch.cat([tensor[: size - count], other_tensor[size - count :]])

    def share_tree(player: str, tensor: Tree | Tensor, other_tensor: Tree | Tensor) -> Tree | Tensor:
        if isinstance(tensor, Tensor):
            assert isinstance(other_tensor, Tensor)
            return share_tensor(player, tensor, other_tensor)
        assert isinstance(other_tensor, dict)
        return {key: share_tree(player, value, other_tensor[key]) for key, value in tensor.items()}

    return {
        kind: {player: share_tree(player, pair[kind][player], other_pair[kind][player]) for player in pair[kind]}
        for kind in ("vectors", "optimizers")
        if kind in pair
    }
