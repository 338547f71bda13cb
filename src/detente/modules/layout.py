"""Layout of a player's flat parameter vector: names and shapes of its pieces, and views of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from detente.errors import require


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors that are concatenated in a flat vector.

    Args:
        names: name of each piece, in order.
        shapes: shape of each piece, in the same order.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], owner: str = "module") -> Layout:
        """Return the layout of named tensors.

        Raises:
            InvalidValue: there are no tensors, or they differ in dtype or device.
        """
        require(len(tensors) > 0, owner, "no trainable parameter", "a module with at least one trainable parameter")
        kinds = {(tensor.dtype, tensor.device) for tensor in tensors.values()}
        real = all(dtype.is_floating_point for dtype, _ in kinds)
        hint = "" if real else "Store complex parameters as real and imaginary parts (torch.view_as_real)"
        require(len(kinds) == 1 and real, owner, kinds, "parameters of one floating dtype on one device", hint)
        return cls(tuple(tensors), tuple(tuple(tensor.shape) for tensor in tensors.values()))

    @cached_property
    def sizes(self) -> list[int]:
        """Number of elements of each piece."""
        return [math.prod(shape) for shape in self.shapes]

    @cached_property
    def _parts(self) -> list[tuple[str, tuple[int, ...], bool]]:
        """Name and shape of each piece, and whether the shape is not that of a piece of a vector."""
        return [(name, shape, len(shape) != 1) for name, shape in zip(self.names, self.shapes, strict=True)]

    @property
    def size(self) -> int:
        """Number of elements of the whole vector."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the pieces, concatenated into a new vector, (size,)."""
        if len(self.names) == 1:
            return tensors[self.names[0]].reshape(-1).clone()
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the pieces of `vector`, (size,), as views of it."""
        if len(self.names) == 1:
            return {self.names[0]: vector.view(self.shapes[0])}
        pieces = vector.split_with_sizes(self.sizes)
        return {
            name: piece.view(shape) if viewed else piece
            for piece, (name, shape, viewed) in zip(pieces, self._parts, strict=True)
        }
