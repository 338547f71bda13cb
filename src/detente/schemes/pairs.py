"""SGAN's pairs of a generator and a discriminator: stacking, mixing, and sharing of parameters."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor

from detente.deprecated import lookup
from detente.errors import require
from detente.state import State, Tree, flatten, unflatten

PLAYERS = ("generator", "discriminator")
MEMORY_KEYS = ("field", "scheme", "optimizers")  # a pair's memory has the same keys as a state's memory


def locals_of(state: State) -> list[State]:
    """Return the local pairs of an SGAN state as separate states, as if each had been trained alone."""
    memory = state.memory["scheme"]
    while "locals" not in memory:
        require(
            "inner" in memory, "state", sorted(memory), "the state of a training with SGAN, or with a wrapper around it"
        )
        memory = memory["inner"]
    pairs = len(next(iter(memory["locals"]["vectors"].values())))
    return [as_state(map_tensors(memory["locals"], itemgetter(n)), state.t) for n in range(pairs)]


def with_player_of(pair: State, player: str, other_pair: State, field: Tree) -> State:
    """Return a pair with the parameters and buffers of one player taken from another pair."""
    vectors = {**pair.vectors, player: other_pair.vectors[player]}
    buffers = {name: (other_pair if name == player else pair).buffers[name] for name in pair.buffers}
    return State(pair.t, vectors, buffers, {**pair.memory, "field": field})


def as_state(tree: Tree, t: Tensor) -> State:
    """Return a stored pair as a state."""
    return State(t, tree["vectors"], tree["buffers"], {name: tree[name] for name in MEMORY_KEYS})


def as_tree(state: State) -> Tree:
    """Return a pair as it is stored."""
    return {"vectors": state.vectors, "buffers": state.buffers, **state.memory}


def map_tensors(tree: Tree, change: Callable[[Tensor], Tensor]) -> Tree:
    """Return the tree with `change` applied to every tensor."""
    return {
        key: change(value) if isinstance(value, Tensor) else map_tensors(value, change) for key, value in tree.items()
    }


def stack_trees(trees: list[Tree]) -> Tree:
    """Return several trees as one; each tensor has one row per tree."""
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.stack([flat[key] for flat in flats]) for key in flats[0]}, trees[0])


def with_shared_parameters(share: float, discriminator: str, pair: Tree, other_pair: Tree) -> Tree:
    """Return a pair's vectors, and the optimizers' memory if present, with shared parameters from another pair.

    Args:
        share: fraction of each network's parameters to share: the discriminator's first and the generator's last.
        discriminator: name of the discriminator.
        pair: the pair, as it is stored; only "vectors" and "optimizers" are read.
        other_pair: the other pair, in the same form.
    """

    def share_tensor(player: str, tensor: Tensor, other_tensor: Tensor) -> Tensor:
        size = pair["vectors"][player].numel()
        count = int(share * size)
        if tensor.shape != (size,):
            return tensor
        if player == discriminator:
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


__getattr__ = lookup(__name__)
