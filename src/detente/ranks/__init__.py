"""Several processes that train one game: each evaluates its rows of a batch, and sums are taken over all of them.

Parts of a batch are equal, so a loss is L = (1/R) Σ_r L_r. A derivative of L is the mean over ranks of those of the
L_r, if every vector that enters it, such as the v of Jᵀv, is already that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import _functional_collectives as collectives
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.functional import pad

from detente.errors import InvalidValue, require, unknown
from detente.ranks import messages
from detente.ranks.messages import Messages as Messages
from detente.ranks.messages import counting_messages as counting_messages

BatchNorm = Literal["whole", "rows"]
ALIGNED = 64  # numbers: kernels treat the last few of a vector apart, and parts must end where the whole does


@dataclass(frozen=True)
class Ranks:
    """One process of several that train one game, in torch.distributed's default process group.

    Args:
        rank: index of this process, 0 … count − 1.
        count: number of processes R, ≥ 1.
        batch_norm: whether BatchNorm normalises the "whole" batch, as one process would, or each rank's "rows".
        shard: whether each rank holds only its part of what a state has per parameter besides the parameters, which is
            the memory of optimizers, fields and schemes. Parameters are bitwise identical; each move needs a message.
        inexact: whether to warn about a game whose samples mix in a way that ranks cannot see, instead of refusing it.
            Such a statistic is then one of each rank's rows.
    """

    rank: int
    count: int
    batch_norm: BatchNorm = "whole"
    shard: bool = False
    inexact: bool = False

    def __post_init__(self) -> None:
        require(self.count >= 1, "count", self.count, "an integer ≥ 1")
        require(0 <= self.rank < self.count, "rank", self.rank, f"0 … {self.count - 1}")
        if self.batch_norm not in get_args(BatchNorm):
            raise unknown("batch_norm", self.batch_norm, get_args(BatchNorm))

    def rows(self, size: int, parts: int = 1) -> Tensor:
        """Return the indices of this rank's rows in a batch of `size` samples; see `rows`.

        Raises:
            InvalidValue: the batch cannot be divided equally.
        """
        allowed = f"a multiple of the number of ranks, {self.count}"
        require(size % self.count == 0, "batch", size, allowed, "Every rank evaluates the same number of samples")
        parts = parts if size % (parts * self.count) == 0 else 1
        return torch.arange(size).view(parts, self.count, -1)[:, self.rank].flatten()


_RANKS: ContextVar[Ranks | None] = ContextVar("ranks", default=None)


def ranks() -> Ranks | None:
    """Return the ranks that evaluate a batch together; None if this process evaluates it alone."""
    return _RANKS.get()


@contextmanager
def together(ranks: Ranks | None) -> Iterator[None]:
    """Context in which derivatives are those of the whole batch, although each rank has only its rows.

    All ranks must enter it and take the same steps. With None, or a single rank, nothing is sent.
    """
    token = _RANKS.set(ranks if ranks is not None and ranks.count > 1 else None)
    try:
        yield
    finally:
        _RANKS.reset(token)


def rows(batch: dict[str, Tensor], ranks: Ranks | None, parts: int = 1) -> dict[str, Tensor]:
    """Return the rows of one rank in a whole batch; tensors without rows, (), belong to every rank.

    Args:
        batch: the whole batch, the same on all ranks.
        ranks: the ranks; None returns the batch.
        parts: `accumulate`, the number of parts in which the batch is evaluated. Each rank has its rows of every part,
            so that together the ranks evaluate the parts that one process would.

    Raises:
        InvalidValue: the tensors differ in the number of rows, or it is not a multiple of the number of ranks.
    """
    if ranks is None or ranks.count == 1:
        return batch
    sizes = {len(tensor) for tensor in batch.values() if tensor.dim()}
    if len(sizes) > 1:
        shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
        allowed = "1 for a game without one row per sample in its batches"
        raise InvalidValue("ranks", ranks.count, allowed, f"This batch has the shapes {shapes}")
    part = dict(batch)
    for size in sizes:
        indices = ranks.rows(size, parts)
        first, count = int(indices[0]), len(indices)
        contiguous = int(indices[-1]) == first + count - 1
        for name, tensor in batch.items():
            if tensor.dim():
                part[name] = tensor[first : first + count] if contiguous else tensor[indices.to(tensor.device)]
    if "seed" in part:  # layers that draw random numbers need a different seed for each rank, and each part of it
        part["seed"] = part["seed"] + ranks.rank * 2**16
    return part


class _Sum(torch.autograd.Function):
    """The sum over ranks: linear, symmetric and element-wise, so it is its own derivative and its own mapped form."""

    generate_vmap_rule = False

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        if get_proxy_mode() is None:
            return messages.summed([tensor.reshape(-1)]).view(tensor.shape)
        messages.count_message(tensor.numel(), tensor)
        return collectives.wait_tensor(collectives.all_reduce(tensor.contiguous(), "sum", _group()))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del ctx, inputs, output

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        return _sum(cotangents[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], tensor: Tensor) -> tuple[Tensor, int | None]:
        return _sum(tensor), in_dims[0]


def _sum(tensor: Tensor) -> Tensor:
    return _Sum.apply(tensor)  # pyright: ignore[reportReturnType]


def _group() -> Any:
    return dist.group.WORLD


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum over ranks; differentiable to any order, since its derivative is a sum over ranks again.

    A result of autograd is one rank's summand of the derivative: their sum is the derivative of the sum of all ranks'
    losses.
    """
    return tensor if ranks() is None else _sum(tensor)


def batch_size(tensor: Tensor) -> int:
    """Return the number of rows of the whole batch: `len(tensor)` if one process has all rows."""
    current = ranks()
    return len(tensor) if current is None else len(tensor) * current.count


def batch_mean(tensor: Tensor) -> Tensor:
    """Return the mean of all elements, (), over the whole batch: `tensor.mean()` if one process has all rows.

    A loss that uses a statistic of the batch, such as the mean of all scores in a non-linear function, must take it
    from here. It can be differentiated to any order.
    """
    mean, current = tensor.mean(), ranks()
    return mean if current is None else _sum(mean) / current.count


def batch_deviation(tensor: Tensor) -> Tensor:
    """Return the standard deviation of all elements, (), over the whole batch, with divisor n."""
    current = ranks()
    if current is None:
        return tensor.std(correction=0)
    mean = tensor.mean()
    of_ranks = gathered(torch.stack([mean, (tensor - mean).square().mean()]), current)
    return whole_statistics(of_ranks)[1].sqrt()


def whole_statistics(of_ranks: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance over all ranks, (…), from those of equally many numbers on each rank, (ranks, 2, …)."""
    means, variances = of_ranks.unbind(1)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def mean_over_ranks(tensors: Sequence[Tensor], divided: Collection[int] = ()) -> list[Tensor]:
    """Return the mean over ranks of each tensor, off autograd's graph, in one message.

    Integers, such as BatchNorm's counts of batches, are the same on all ranks, and are not sent. Tensors of different
    dtypes are sent in a dtype that can represent all of them.

    Args:
        tensors: the tensors.
        divided: indices of the vectors, (n,), that ranks divide, if they divide memory: this rank gets its part.
    """
    current = ranks()
    sent = [index for index, tensor in enumerate(tensors) if tensor.is_floating_point()]
    if current is None or not sent:
        return list(tensors)
    dtype = tensors[sent[0]].dtype
    for index in sent:
        dtype = torch.promote_types(dtype, tensors[index].dtype)
    divided = set(divided).intersection(sent) if current.shard else set()
    with torch.no_grad():
        vectors, results = [tensors[index].reshape(-1).to(dtype) for index in sent], list(tensors)
        named = [(index in divided, vector) for index, vector in zip(sent, vectors, strict=True)]
        plain = get_proxy_mode() is None and not any(map(torch._C._functorch.is_functorch_wrapped_tensor, vectors))  # pyright: ignore
        if plain and divided:
            rows = [_row(named, replace(current, rank=rank)) for rank in range(current.count)]
            lengths = [_part_length(len(vector), current) if part else len(vector) for part, vector in named]
            pieces = messages.scattered(rows, current.count).split(lengths)
        else:
            total = messages.summed(vectors, current.count) if plain else _sum(torch.cat(vectors)) / current.count
            pieces = total.split([len(vector) for vector in vectors])
        for index, vector, piece in zip(sent, vectors, pieces, strict=True):
            if index in divided:
                rank_part = part_of(vector, current)
                piece = piece[: len(rank_part)] if plain else part_of(piece, current)
                results[index] = piece.to(tensors[index].dtype)
            else:
                results[index] = piece.view(tensors[index].shape).to(tensors[index].dtype)
    return results


def part_of(vector: Tensor, ranks: Ranks) -> Tensor:
    """Return one rank's part of a vector, (n,), that ranks divide among them."""
    length = _part_length(len(vector), ranks)
    return vector[ranks.rank * length : (ranks.rank + 1) * length]


def whole_vector(part: Tensor, size: int, ranks: Ranks) -> Tensor:
    """Return the whole vector, (size,), from the parts on all ranks; all ranks must call it."""
    return gathered(pad(part, (0, _part_length(size, ranks) - len(part))), ranks).flatten()[:size]


def _row(vectors: Sequence[tuple[bool, Tensor]], ranks: Ranks) -> list[Tensor]:
    """Return what one rank gets of vectors, (n,): its part of those that are divided, with zeros at its end."""
    row = []
    for divided, vector in vectors:
        part = part_of(vector, ranks) if divided else vector
        row.append(part)
        if divided and (missing := _part_length(len(vector), ranks) - len(part)):
            row.append(part.new_zeros(missing))
    return row


def _part_length(size: int, ranks: Ranks) -> int:
    """Return the length of all parts but the last."""
    return -(-size // (ranks.count * ALIGNED)) * ALIGNED


def divides_memory() -> bool:
    """Return whether the ranks of `ranks` divide memory among them."""
    current = ranks()
    return current is not None and current.shard


def own_part(vector: Tensor, size: int | None = None) -> Tensor:
    """Return this rank's part of a vector, (n,), where ranks divide memory; elsewhere all of it.

    Args:
        vector: the vector, or already this rank's part of it.
        size: n. Default: the length of `vector`.
    """
    current = ranks()
    whole = size is None or len(vector) == size
    return part_of(vector, current) if current is not None and current.shard and whole else vector


def of_parts(part: Tensor, size: int) -> Tensor:
    """Return the whole vector, (size,), from each rank's `own_part`."""
    current = ranks()
    return whole_vector(part, size, current) if current is not None and current.shard else part


def own_parts(vectors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the `own_part` of vectors, each as long as in `like`, to keep: copies, so that the whole can be freed."""
    if not divides_memory():
        return {**vectors}
    return {name: own_part(vector, len(like[name])).clone() for name, vector in vectors.items()}


def all_of_parts(parts: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the whole vectors from each rank's parts, each as long as in `like`, by one message for each."""
    return {name: of_parts(part, len(like[name])) for name, part in parts.items()}


def norms(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the Euclidean norm, (), of each divided vector from each rank's `own_part`, in one short message."""
    local_norms, current = [torch.linalg.vector_norm(part) for part in parts], ranks()
    if current is None or not current.shard or not local_norms:
        return local_norms
    return [*torch.linalg.vector_norm(gathered(torch.stack(local_norms), current), dim=0).unbind()]


def gathered(tensor: Tensor, ranks: Ranks) -> Tensor:
    """Return every rank's tensor, (ranks, …), for few numbers: a gather is quicker than a sum, and as differentiable.

    All ranks then add the same numbers in the same order.
    """
    return _Gather.apply(tensor, ranks)  # pyright: ignore[reportReturnType]


class _Gather(torch.autograd.Function):
    """Every rank's tensor. Its derivative by one rank's is the sum over ranks of that row."""

    generate_vmap_rule = False

    @staticmethod
    def forward(tensor: Tensor, ranks: Ranks) -> Tensor:
        if get_proxy_mode() is not None:  # the compiler's C++ wrapper has sums, but no gathers
            mask = torch.arange(ranks.count, device=tensor.device) == ranks.rank  # so that all ranks have one graph
            return _sum(torch.where(mask.view(-1, *[1] * tensor.dim()), tensor, 0))
        return messages.gathered(tensor, ranks.count)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Ranks], output: Tensor) -> None:
        del output
        ctx.rank = inputs[1].rank

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        return _sum(cotangents[0])[ctx.rank], None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, None], tensor: Tensor, ranks: Ranks) -> tuple[Tensor, int | None]:
        return gathered(tensor, ranks), None if in_dims[0] is None else in_dims[0] + 1
