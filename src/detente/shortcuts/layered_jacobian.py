"""The dense Jacobian of players made of linear layers, from derivatives with respect to the layers' outputs.

A weight enters the losses only through z = W h + b, and there are far fewer outputs than weights. `detente.autodiff`
differentiates; this file records the calls of the layers and assembles the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

Layer = tuple[str, int | None, int | None]
PerSample = Callable[[Tensor, list[Tensor]], list[Tensor | None]]


@dataclass(frozen=True)
class Call:
    """One call of a linear layer, z = W h + b + e.

    Args:
        player: player that owns the layer.
        weight: offset of W in the player's vector; None if W is frozen.
        bias: offset of b in the player's vector; None if b is frozen or absent.
        inputs: h, (batch, inputs).
        shift: e = 0, a leaf of autograd's graph, (batch, outputs).
    """

    player: str
    weight: int | None
    bias: int | None
    inputs: Tensor
    shift: Tensor

    @property
    def layer(self) -> Layer:
        """Key of the layer, the same for all its calls."""
        return self.player, self.weight, self.bias


@contextmanager
def recorded(vectors: dict[str, Tensor]) -> Iterator[list[Call]]:
    """Record each call of a linear layer with 2-D input whose parameters are views of `vectors`, in call order.

    Args:
        vectors: the players' parameters, (n_i,), each in its own storage.
    """
    players = {vector.untyped_storage().data_ptr(): name for name, vector in vectors.items()}
    calls: list[Call] = []

    def record(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
        mapped = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
        if mapped or not isinstance(module, nn.Linear) or len(inputs) != 1 or inputs[0].dim() != 2:
            return None
        calls_by_id = {}
        for name, parameter in module.named_parameters(recurse=False):
            player = players.get(parameter.untyped_storage().data_ptr())
            if player is not None and parameter.is_contiguous():
                calls_by_id[name] = player, parameter.storage_offset()
        owners = {player for player, _ in calls_by_id.values()}
        if len(owners) != 1:  # no player's: frozen, or computed from parameters
            return None
        weight, bias = (calls_by_id[name][1] if name in calls_by_id else None for name in ("weight", "bias"))
        calls.append(Call(owners.pop(), weight, bias, inputs[0], torch.zeros_like(output, requires_grad=True)))
        return output + calls[-1].shift

    handle = register_module_forward_hook(record)  # pyright: ignore[reportArgumentType]  # a hook may replace the output
    try:
        yield calls
    finally:
        handle.remove()


@dataclass(frozen=True)
class Layering:
    """An order of rows and columns in which each layer's parameters are contiguous, as [W b], row by row.

    Args:
        size: number of rows in this order, including those of frozen parameters.
        begins: first row of each layer.
        order: row of each element of the players' stacked vectors, (n,).
        players: slice of `order` for each player.
    """

    size: int
    begins: dict[Layer, int]
    order: Tensor
    players: dict[str, slice]

    @classmethod
    def of(cls, calls: Sequence[Call], vectors: dict[str, Tensor]) -> Layering | None:
        """Return the layering, or None if the layers do not hold every parameter exactly once."""
        if len({(len(call.inputs), call.inputs.dtype, call.shift.dtype) for call in calls}) != 1:
            return None
        players, count = {}, 0
        for name, vector in vectors.items():
            players[name] = slice(count, count + len(vector))
            count += len(vector)
        order, assigned, size, begins = torch.full((count,), -1), 0, 0, {}
        for call in {call.layer: call for call in calls}.values():
            outputs, inputs = call.shift.shape[1], call.inputs.shape[1]
            places = torch.arange(size, size + outputs * (inputs + 1)).view(outputs, inputs + 1)
            begins[call.layer], size = size, size + places.numel()
            for offset, part in ((call.weight, places[:, :-1]), (call.bias, places[:, -1])):
                if offset is not None:
                    order[players[call.player]][offset : offset + part.numel()] = part.reshape(-1)
                    assigned += part.numel()
        complete = assigned == count and bool((order >= 0).all())
        return cls(size, begins, order.to(calls[0].inputs.device), players) if complete else None


@torch.no_grad()
def assembled(
    calls: Sequence[Call], layering: Layering, gradients: Mapping[str, Sequence[Tensor | None]], per_sample: PerSample
) -> Tensor:
    """Return J, (n, n), exact if samples of a batch do not mix and parameters enter only through these calls.

    J[(l,a,j),(m,p,q)] = Σ_b h_lj S_la,mp h_mq + δ_la T_lj,mp h_mq + h_lj T_mq,la δ_mp

    is the derivative of player i's gradient. Here l and m are calls (l of a layer of player i), a and p outputs, j and
    q inputs, and for each sample b, δ = ∂L_i/∂e, S = ∂δ/∂e, T = ∂h/∂e.

    Args:
        calls: the calls of one evaluation of the losses.
        layering: layering of these calls.
        gradients: δ of each player's loss by call, (batch, outputs); None if the loss does not depend on it.
        per_sample: (x, shifts) ↦ ∂x_bk/∂e_bp for each of the shifts, (k, batch, p); None if there is no path.
    """
    inputs = [nn.functional.pad(call.inputs, (0, 1), value=1.0) for call in calls]  # the one multiplies the bias
    begins = [layering.begins[call.layer] for call in calls]
    shifts = [call.shift for call in calls]
    total = inputs[0].new_zeros(layering.size, layering.size)

    def add(row: int, column: int, formula: str, left: Tensor, right: Tensor, derivative: Tensor) -> None:
        """Add Σ_b left · right · derivative, with axes a, j, p, q, to the block of two calls."""
        summand = torch.einsum(formula, left.unsqueeze(2) * right.unsqueeze(1), derivative)
        (a, j), (p, q) = ((shifts[k].shape[1], inputs[k].shape[1]) for k in (row, column))
        rows, columns = slice(begins[row], begins[row] + a * j), slice(begins[column], begins[column] + p * q)
        total[rows, columns].view(a, j, p, q)[:, : summand.shape[1], :, : summand.shape[3]].add_(summand)

    for row, call in enumerate(calls):
        same_player = [other_call.player == call.player for other_call in calls]
        delta = gradients[call.player][row]
        if delta is not None and delta.requires_grad:
            # The diagonal block of a player is symmetric: only half is computed, and mirrored at the end.
            columns_needed = [k for k in range(len(calls)) if not same_player[k] or begins[k] <= begins[row]]
            for k, curvature in zip(
                columns_needed, per_sample(delta, [shifts[k] for k in columns_needed]), strict=True
            ):
                if curvature is not None:
                    curvature = curvature / 2 if begins[k] == begins[row] else curvature
                    add(row, k, "bjq,abp->ajpq", inputs[row], inputs[k], curvature)
        if call.inputs.requires_grad:
            for k, slope in enumerate(per_sample(call.inputs, shifts)):
                if slope is None:
                    continue
                if delta is not None:
                    add(row, k, "baq,jbp->ajpq", delta, inputs[k], slope)
                derivatives = gradients[calls[k].player][row]
                if not same_player[k] and derivatives is not None:
                    add(k, row, "bjp,qba->ajpq", inputs[k], derivatives, slope)
    dense = total.index_select(0, layering.order).index_select(1, layering.order)
    for part in layering.players.values():
        dense[part, part] += dense[part, part].T.clone()
    return dense
