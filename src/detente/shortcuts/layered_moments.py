"""Moments of per-sample gradients of a player made of linear layers, without the gradients themselves.

A weight enters the losses only through z = W h + b, so that a sample's gradient is δ hᵀ with δ = ∂L/∂z, and sums over
samples of gradients and of their squares are matrix products of δ and h. `detente.autodiff` differentiates; this file
finds the layers, records their calls and computes the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

Product = Callable[[list[Tensor], list[Tensor] | None], Tensor]
Places = tuple[int | None, int | None]  # offsets of a layer's weight and bias in the player's vector


@dataclass(frozen=True)
class Layers:
    """The linear layers that hold all of a player's parameters, in the order of their calls.

    Args:
        calls: the layer of each call; a layer can be called more than once.
        places: offsets of each layer's weight and bias.
        size: length of the player's vector.
    """

    calls: tuple[nn.Linear, ...]
    places: Mapping[nn.Linear, Places]
    size: int

    @classmethod
    def of(cls, vector: Tensor, evaluate: Callable[[], object]) -> Layers | None:
        """Return the layers that `evaluate` calls, or None if they do not hold every parameter exactly once.

        Args:
            vector: the player's parameters, (n,), a plain tensor in its own storage.
            evaluate: evaluates the losses, with modules whose parameters are views of `vector`.
        """
        storage, calls, places = vector.untyped_storage().data_ptr(), [], {}

        def record(module: nn.Module, inputs: tuple, output: object) -> None:
            if not isinstance(module, nn.Linear) or len(inputs) != 1 or inputs[0].dim() != 2:
                return
            offsets = [_offset_in(parameter, storage) for parameter in (module.weight, module.bias)]
            if offsets != [None, None]:
                calls.append(module)
                places[module] = (offsets[0], offsets[1])

        handle = register_module_forward_hook(record)
        try:
            evaluate()
        finally:
            handle.remove()
        owner_count = torch.zeros(len(vector), dtype=torch.int64)
        for layer, (weight, bias) in places.items():
            for begin, count in ((weight, layer.in_features * layer.out_features), (bias, layer.out_features)):
                if begin is not None:
                    owner_count[begin : begin + count] += 1
        return cls(tuple(calls), places, len(vector)) if bool((owner_count == 1).all()) else None

    def shifts(self, batch: int, like: Tensor) -> Tensor:
        """Return zero shifts of all calls as one vector, (batch · outputs of all calls,); `cut` splits it."""
        return like.new_zeros(batch * sum(layer.out_features for layer in self.calls))

    def cut(self, shifts: Tensor, batch: int) -> list[Tensor]:
        """Return the shifts of each call, (batch, outputs)."""
        parts = shifts.split([batch * layer.out_features for layer in self.calls])
        return [part.view(batch, -1) for part in parts]

    @contextmanager
    def shifted(self, shifts: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        """Add `shifts` to the calls' outputs; the yielded list receives the calls' inputs, (batch, inputs)."""
        inputs: list[Tensor] = []

        def shift(module: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
            del module
            inputs.append(arguments[0])
            return output + shifts[len(inputs) - 1]

        handles = [layer.register_forward_hook(shift) for layer in self.places]
        try:
            yield inputs
        finally:
            for handle in handles:
                handle.remove()

    def moments(self, inputs: Sequence[Tensor], slopes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return Σ_b g_b and Σ_b g_b², each (n,), for the gradients g_b = Σ_calls δ_b h_bᵀ of the samples b.

        Args:
            inputs: h of each call, (batch, inputs).
            slopes: δ of each call, (batch, outputs).
        """
        return self._product_vector(inputs, slopes, _sum_of_products), self._product_vector(
            inputs, slopes, _sum_of_squares
        )

    def gradients(self, inputs: Sequence[Tensor], slopes: Sequence[Tensor]) -> Tensor:
        """Return g_b of each sample, (batch, n), from the arguments of `moments`."""
        return self._product_vector(inputs, slopes, _per_sample_product)

    def _product_vector(self, inputs: Sequence[Tensor], slopes: Sequence[Tensor], product: Product) -> Tensor:
        """Return the products δ hᵀ of weights and biases, (…, outputs · inputs), as one vector, (…, n)."""
        pieces: dict[int, Tensor] = {}
        for layer, (weight, bias) in self.places.items():
            positions = [index for index, called_layer in enumerate(self.calls) if called_layer is layer]
            delta, h = [slopes[index] for index in positions], [inputs[index] for index in positions]
            if weight is not None:
                pieces[weight] = product(delta, h).flatten(-2)
            if bias is not None:  # its input is always one
                pieces[bias] = product(delta, None)
        return torch.cat([pieces[begin] for begin in sorted(pieces)], dim=-1)


def _offset_in(parameter: Tensor | None, storage: int) -> int | None:
    """Return the offset of a parameter in a storage, or None if it is not in it."""
    if parameter is None or parameter.untyped_storage().data_ptr() != storage or not parameter.is_contiguous():
        return None
    return int(parameter.storage_offset())


def _sum_of_products(delta: list[Tensor], h: list[Tensor] | None) -> Tensor:
    """Return Σ_b Σ_c δ_c h_cᵀ."""
    if h is None:
        return _sum([d.sum(0) for d in delta])
    return _sum([d.T @ x for d, x in zip(delta, h, strict=True)])


def _sum_of_squares(delta: list[Tensor], h: list[Tensor] | None) -> Tensor:
    """Return Σ_b (Σ_c δ_c h_cᵀ)², term by term: squares of the calls and twice their mixed products."""
    if h is None:
        return _sum(delta).square().sum(0)
    calls = list(zip(delta, h, strict=True))
    squares = [d.square().T @ x.square() for d, x in calls]
    mixed = [(2 * d * e).T @ (x * y) for (d, x), (e, y) in combinations(calls, 2)]
    return _sum(squares + mixed)


def _per_sample_product(delta: list[Tensor], h: list[Tensor] | None) -> Tensor:
    """Return Σ_c δ_c h_cᵀ of each sample."""
    if h is None:
        return _sum(delta)
    return _sum([d.unsqueeze(2) * x.unsqueeze(1) for d, x in zip(delta, h, strict=True)])


def _sum(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
