"""Every derivative of the project, in one file however long, so that one place decides how to differentiate.

Two engines compute the same numbers (held equal by a test): `torch.autograd.grad` with one shared forward pass
wherever tensors are plain, eager or being traced for compilation; `torch.func` inside `vmap`, where autograd's tape
cannot be used. Convention: v(x) stacks each player's gradient of its own loss, and J = v'(x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from detente.errors import InvalidValue
from detente.exact_derivatives import exact, exact_within, refusing, require_differentiable
from detente.game import Batch, Buffers, Game, Vectors
from detente.layered_jacobian import Layering, assembled, recorded
from detente.layered_moments import Layers
from detente.second_order import closed_forms
from detente.sharing import shared
from detente.state import flatten, unflatten
from detente.vector import eager

LARGEST_PART = 2**22  # numbers in the samples' gradients that are held at once
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_ACCUMULATED: ContextVar[int] = ContextVar("accumulated", default=1)


def _refusing(
    derivative: Callable[Concatenate[Game, Arguments], Result],
) -> Callable[Concatenate[Game, Arguments], Result]:
    """Return a derivative of a game that raises `InvalidValue` where torch lacks a derivative that it needs."""

    @wraps(derivative)
    def called(game: Game, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with refusing(game):
            return derivative(game, *args, **kwargs)

    return called


@dataclass(frozen=True)
class Evaluation:
    """A field at a point.

    Args:
        field: block of each evaluated player, (n_i,).
        losses: loss of each evaluated player, ().
        buffers: the modules' buffers after the evaluation.
        extra: what a field adds for `Info`, ().
    """

    field: Vectors
    losses: dict[str, Tensor]
    buffers: Buffers
    extra: dict[str, Tensor] = dataclass_field(default_factory=dict)


@contextmanager
def accumulating(parts: int) -> Iterator[None]:
    """Batches are seen in so many parts within, one after the other, so that one part's graph is held at a time.

    `vector_field` and `vector_jacobian` give what they give for the whole batch, to rounding, where losses are means
    over samples that no layer mixes. BatchNorm normalises each part by itself. Each part begins with the same buffers,
    and what it makes of them is averaged.

    Raises:
        InvalidValue: (within) of a derivative that needs the whole batch's graph.
    """
    before = _ACCUMULATED.set(parts)
    try:
        yield
    finally:
        _ACCUMULATED.reset(before)


def _parts(batch: Batch) -> list[tuple[Batch, float]]:
    """Return the parts of a batch, each with its share of the samples in it and in those before it."""
    wanted = _ACCUMULATED.get()
    if wanted == 1:
        return [(batch, 1.0)]
    samples = {name: tensor for name, tensor in batch.items() if tensor.dim()}
    sizes = {len(tensor) for tensor in samples.values()}
    if len(sizes) != 1:
        shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
        hint = f"This one's batch holds {shapes}"
        raise InvalidValue("accumulate", wanted, "1 for a game whose batch is not one row a sample", hint)
    (size,) = sizes
    count, parts, seen = min(wanted, size), [], 0
    cut = {name: tensor.tensor_split(count) for name, tensor in samples.items()}
    for index in range(count):
        part = {**batch, **{name: pieces[index] for name, pieces in cut.items()}}
        if "seed" in batch:  # of random numbers that layers draw: others in every part
            part["seed"] = batch["seed"] + index
        length = len(next(iter(cut.values()))[index])
        seen += length
        parts.append((part, length / seen))
    return parts


def _averaged(
    evaluate: Callable[[Batch], tuple[Evaluation, Vectors]], parts: list[tuple[Batch, float]]
) -> tuple[Evaluation, Vectors]:
    """Return the mean over the parts of a batch of an evaluation and of vectors beside it, one part after the other."""
    if len(parts) == 1:
        return evaluate(parts[0][0])
    mean: dict[str, Tensor] = {}
    told = {}
    for part, share in parts:
        evaluation, vectors = evaluate(part)
        told = {"field": evaluation.field, "losses": evaluation.losses, "buffers": evaluation.buffers, "": vectors}
        found = flatten(told)
        # Steps towards the latest leave alone what all parts agree on; counts are whole numbers, the same in all.
        mean = {
            name: mean[name].lerp(one, share) if name in mean and one.is_floating_point() else one
            for name, one in found.items()
        }
    tree = unflatten(mean, told)
    vectors = tree.pop("")
    return Evaluation(**tree), vectors


def _require_whole(what: str) -> None:
    """Raise `InvalidValue` where batches are seen in parts, but a derivative is that of a whole one."""
    allowed = "1 with a field that differentiates the whole batch at once"
    if (parts := _ACCUMULATED.get()) > 1:
        raise InvalidValue("accumulate", parts, allowed, f"Here it wants {what}")


def _transformed(*tensors: Tensor) -> bool:
    """Whether `torch.func` is at work on these tensors, so that autograd's tape cannot be used."""
    return any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)  # pyright: ignore


def _leaves(vectors: Vectors, players: tuple[str, ...]) -> Vectors:
    """Return the vectors with those of `players` as fresh leaves of autograd's graph."""
    return {name: _leaf(v) if name in players else v for name, v in vectors.items()}


def _leaf(vector: Tensor) -> Tensor:
    return vector.detach().requires_grad_()


def _plain(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation off autograd's graph."""
    return Evaluation(
        {name: block.detach() for name, block in evaluation.field.items()},
        {name: loss.detach() for name, loss in evaluation.losses.items()},
        {player: {n: b.detach() for n, b in named.items()} for player, named in evaluation.buffers.items()},
    )


def _gradients(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    players: tuple[str, ...],
    differentiable: bool,
    forms: AbstractContextManager | None = None,
    kept: bool = False,
) -> Evaluation:
    """Return the blocks of `players` from one forward pass within `forms`, on autograd's graph if `differentiable`.

    Its graph is freed, unless the blocks are on it or it is to be `kept`.
    """
    with exact(game, differentiable, forms):
        losses, new_buffers = game.losses(vectors, buffers, batch, players)
    require_differentiable(game, losses.values(), False)
    blocks = {}
    for name in players:
        if not losses[name].requires_grad:  # a loss that the player cannot change
            blocks[name] = torch.zeros_like(vectors[name])
            continue
        keep = differentiable or kept or name != players[-1]
        (block,) = torch.autograd.grad(
            losses[name], vectors[name], retain_graph=keep, create_graph=differentiable, materialize_grads=True
        )
        blocks[name] = block
    if differentiable:
        require_differentiable(game, blocks.values(), True)
    return Evaluation(blocks, losses, new_buffers)


def _functional(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...], differentiable: bool = True
) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
    """Return what `_gradients` returns, by `torch.func`; the repeated forward passes are merged when compiled."""

    def loss(vector: Tensor, name: str) -> tuple[Tensor, tuple[dict[str, Tensor], Buffers]]:
        with exact(game, differentiable):
            losses, new_buffers = game.losses({**vectors, name: vector}, buffers, batch, players)
        return losses[name], (losses, new_buffers)

    blocks, told = {}, None
    for name in players:
        blocks[name], told = torch.func.grad(loss, has_aux=True)(vectors[name], name)
    assert told is not None
    return blocks, told


@_refusing
def vector_field(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
) -> Evaluation:
    """Return v(x), or the blocks of some players: v_i = ∇_{x_i} L_i(x).

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch.
        players: whose blocks (default: everybody's).
    """
    wanted = players or game.players

    def evaluated(part: Batch) -> tuple[Evaluation, Vectors]:
        if _transformed(*vectors.values()):
            blocks, (losses, new_buffers) = _functional(game, vectors, buffers, part, wanted, differentiable=False)
            return Evaluation(blocks, losses, new_buffers), {}
        with torch.enable_grad():
            leaves = in_common.leaves(vectors, wanted, _leaf) if in_common else _leaves(vectors, wanted)
            kept = in_common is not None
            return _plain(_gradients(game, leaves, buffers, part, wanted, differentiable=False, kept=kept)), {}

    parts = _parts(batch)
    in_common = shared() if len(parts) == 1 else None  # of a batch in parts, one part's graph is held at a time
    return _averaged(evaluated, parts)[0]


def player_gradient(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> Evaluation:
    """Return one player's block of the field, ∇_{x_i} L_i(x)."""
    return vector_field(game, vectors, buffers, batch, (player,))


@_refusing
def vector_jacobian(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    cotangent: Vectors | None = None,
    players: tuple[str, ...] | None = None,
    wanted: tuple[str, ...] | None = None,
) -> tuple[Evaluation, Vectors]:
    """Return v(x) and J(x)ᵀ u, from one forward pass.

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch, used for v and for J.
        cotangent: u, each of `players`' (n_i,); default v(x) itself, so that J(x)ᵀ v(x) = ∇ ½‖v(x)‖².
        players: rows of J, those whose blocks of v enter (default: everybody).
        wanted: columns of J, those with respect to whom is differentiated (default: everybody).
    """
    players, wanted = players or game.players, wanted or game.players
    parts = _parts(batch)
    if len(parts) == 1:
        return _vector_jacobian(game, vectors, buffers, parts[0][0], cotangent, players, wanted)
    # Every part is multiplied with the u of all: v(x) has to be known first, at the price of one more look.
    u = cotangent or vector_field(game, vectors, buffers, batch, players).field
    return _averaged(lambda part: _vector_jacobian(game, vectors, buffers, part, u, players, wanted), parts)


def _vector_jacobian(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    cotangent: Vectors | None,
    players: tuple[str, ...],
    wanted: tuple[str, ...],
) -> tuple[Evaluation, Vectors]:
    """Return v(x) and J(x)ᵀ u of a batch in one piece, as `vector_jacobian` says."""
    if _transformed(*vectors.values()):

        def blocks_at(at: Vectors) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
            return _functional(game, {**vectors, **at}, buffers, batch, players)

        blocks, pull, (losses, new_buffers) = torch.func.vjp(  # pyright: ignore[reportAssignmentType]
            blocks_at, {name: vectors[name] for name in wanted}, has_aux=True
        )
        (product,) = pull({name: (cotangent or blocks)[name] for name in players})
        return Evaluation(blocks, losses, new_buffers), product
    with torch.enable_grad():
        leaves = _leaves(vectors, tuple(dict.fromkeys((*players, *wanted))))
        on_processor = all(vector.device.type == "cpu" for vector in vectors.values())  # where the closed forms pay
        forms = closed_forms(getattr(game, "modules", None)) if on_processor else None
        evaluation = _gradients(game, leaves, buffers, batch, players, True, forms)
        rows = [evaluation.field[name] for name in players]
        given = [(cotangent or evaluation.field)[name].detach() for name in players]
        product = _products(rows, [leaves[name] for name in wanted], given)
    return _plain(evaluation), dict(zip(wanted, product, strict=True))


def _products(rows: list[Tensor], columns: list[Tensor], given: list[Tensor], **options: bool) -> list[Tensor]:
    """Return Σ_i givenᵢᵀ ∂rowᵢ/∂column for each column; zeros where nothing depends on it."""
    shapes = [(*given[0].shape[:-1], *column.shape) for column in columns]  # (k, n_i) for k products at once
    live = [(row, u) for row, u in zip(rows, given, strict=True) if row.requires_grad]
    if not live:
        return [column.new_zeros(shape) for column, shape in zip(columns, shapes, strict=True)]
    outputs, seeds = zip(*live, strict=True)
    grads = torch.autograd.grad(outputs, columns, seeds, materialize_grads=True, **options)
    # Of k products at once, autograd gives the zeros where nothing depends on a column only once.
    return [grad.expand(shape) for grad, shape in zip(grads, shapes, strict=True)]


def _taped(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Return everybody's blocks of v on autograd's graph, and the leaves they depend on."""
    with torch.enable_grad():
        leaves = _leaves(vectors, game.players)
        blocks = _gradients(game, leaves, buffers, batch, game.players, differentiable=True).field
    return [blocks[name] for name in game.players], [leaves[name] for name in game.players]


@_refusing
def jacobian_vector(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, tangent: Vectors) -> Vectors:
    """Return J(x) u: how the field changes when every player moves along `tangent`, each (n_i,).

    Reverse mode twice, since u ↦ Jᵀu is linear and its transpose is J: works for every layer that can be
    differentiated twice.
    """
    names = game.players
    with torch.enable_grad():
        rows, columns = _taped(game, vectors, buffers, batch)
        dummies = [torch.zeros_like(row).requires_grad_() for row in rows]
        transposed = _products(rows, columns, dummies, create_graph=True)
        product = _products(transposed, dummies, [tangent[name] for name in names])
    return dict(zip(names, product, strict=True))


@_refusing
def transposed_jacobian(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> Callable[[Tensor], Tensor]:
    """Return u ↦ J(x)ᵀ u on stacked vectors (n,), with the graph of v(x) built once and kept.

    J and Jᵀ have the same eigenvalues, so this is the cheapest operator for a spectrum. A matrix (k, n) gives k
    products at once.
    """
    rows, columns = _taped(game, vectors, buffers, batch)
    sizes = [row.numel() for row in rows]

    def product(u: Tensor) -> Tensor:
        given = list(u.split(sizes, dim=-1))
        with refusing(game):
            return torch.cat(_products(rows, columns, given, retain_graph=True, is_grads_batched=u.dim() == 2), dim=-1)

    return product


@_refusing
def jacobian(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, chunk: int = 64) -> Tensor:
    """Return the dense Jacobian J = v'(x), (n, n), rows and columns in the order of `game.players`.

    Players made of linear layers are differentiated by the layers' outputs, of which there are fewer than parameters.

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch.
        chunk: rows computed at once; their intermediate results should fit the processor's cache.
    """
    rows, columns = _taped(game, vectors, buffers, batch)
    dense = _layered_jacobian(game, vectors, buffers, batch, chunk)
    if dense is not None and _is_jacobian(dense, rows, columns):
        return dense
    parts: list[Tensor] = []
    for row in rows:  # player by player: half the work, since a row depends on one player's gradient only
        for unit in torch.eye(len(row), dtype=row.dtype, device=row.device).split(chunk):
            found = _products([row], columns, [unit], retain_graph=True, is_grads_batched=True)
            parts.append(torch.cat(found, dim=-1))
    return torch.cat(parts)


def _layered_jacobian(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, chunk: int) -> Tensor | None:
    """Return what is J if linear layers hold all parameters and nothing mixes samples; None if the former is not so."""
    vectors = {name: vectors[name].detach().clone() for name in game.players}  # each in a storage of its own
    with torch.enable_grad():
        with recorded(vectors) as calls, exact(game, True):
            losses, _ = game.losses(vectors, buffers, batch, game.players)
        layering = Layering.of(calls, vectors)
        if layering is None:
            return None
        shifts = [call.shift for call in calls]
        gradients = {
            name: torch.autograd.grad(loss, shifts, create_graph=True, allow_unused=True)
            if loss.requires_grad
            else [None] * len(shifts)
            for name, loss in losses.items()
        }

    def per_sample(outputs: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
        # One output of all samples at once: where samples do not mix, their derivatives come out apart.
        units = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device).unsqueeze(1)
        options = {"retain_graph": True, "is_grads_batched": True, "allow_unused": True}
        found = [
            torch.autograd.grad(outputs, leaves, part, **options)
            for part in units.expand(-1, len(outputs), -1).split(chunk)
        ]
        if len(found) == 1:
            return list(found[0])
        return [None if parts[0] is None else torch.cat(parts) for parts in zip(*found, strict=True)]

    return assembled(calls, layering, gradients, per_sample)


def _is_jacobian(dense: Tensor, rows: list[Tensor], columns: list[Tensor]) -> bool:
    """Whether a matrix is J but for rounding: Jᵀu by the graph of v agrees block by block, u random for each player."""
    sizes = [len(row) for row in rows]
    u = torch.randn(len(dense), dtype=dense.dtype, generator=torch.Generator().manual_seed(0)).to(dense.device)
    given = torch.block_diag(*u.split(sizes))  # (players, n): each player's rows alone
    blocks = list(given.split(sizes, dim=-1))
    expected = _products(rows, columns, blocks, retain_graph=True, is_grads_batched=True)
    rounding = 100 * torch.finfo(dense.dtype).eps
    return all(
        bool(((found - product).norm(dim=-1) <= rounding * product.norm(dim=-1)).all())
        for found, product in zip((given @ dense).split(sizes, dim=-1), expected, strict=True)
    )


@_refusing
def per_sample_gradients(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> Tensor:
    """Return the gradient of `player`'s loss for each sample of the batch alone, (batch, n_i).

    Their mean is the batch gradient where the loss is a mean over samples and no layer mixes them (BatchNorm does).
    What a batch holds beside its samples, numbers () such as the step "t", belongs to each.
    """
    return _per_sample(game, player, vectors, buffers, batch)[0]


def _per_sample(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return gradient, (batch, n_i), and loss, (batch,), of each sample alone."""
    samples = {name: tensor for name, tensor in batch.items() if tensor.dim()}

    def loss(vector: Tensor, sample: Batch) -> Tensor:
        alone = {**batch, **{name: tensor.unsqueeze(0) for name, tensor in sample.items()}}
        with exact(game, False):
            losses, _ = game.losses({**vectors, player: vector}, buffers, alone, (player,))
        return losses[player]

    return torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(None, 0))(vectors[player], samples)


@_refusing
def gradient_covariance(
    game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch, full: bool = False
) -> tuple[Evaluation, Tensor]:
    """Return a player's block of the field, and the covariance of its samples' gradients.

    V = 1/(B−1) Σ_b (g_b − ḡ)(g_b − ḡ)ᵀ for a loss that is a mean over B samples which no layer mixes. A player made of
    linear layers needs little more than one gradient; others are differentiated sample by sample.

    Args:
        game: the game.
        player: whose gradients.
        vectors: the point, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch of B ≥ 2 samples.
        full: V, (n_i, n_i), instead of its diagonal, (n_i,).
    """
    _require_whole("a covariance over the samples of a batch")
    size = next(len(tensor) for tensor in batch.values() if tensor.dim())
    if eager(*vectors.values(), *batch.values()):
        through_layers(game, player)
    layers = _LAYERS.get(game, {}).get(player)
    if layers is not None:
        return _layered_covariance(game, player, vectors, buffers, batch, full, size, layers)
    evaluation, covariance = _sampled_covariance(game, player, vectors, buffers, batch, full, size)
    if any(buffers.values()):  # moved by the whole batch, as everywhere else
        with torch.no_grad():
            losses, after = game.losses(vectors, buffers, batch, (player,))
        evaluation = Evaluation(evaluation.field, losses, after)
    return evaluation, covariance


def _sampled_covariance(
    game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch, full: bool, size: int
) -> tuple[Evaluation, Tensor]:
    """Return what `gradient_covariance` does from all samples' gradients, some at a time to spare memory."""
    vector = vectors[player]
    chunk = max(8, LARGEST_PART // len(vector))
    mean, total, loss, seen = torch.zeros_like(vector), torch.zeros_like(vector), vector.new_zeros(()), 0
    total = total.new_zeros(len(vector), len(vector)) if full else total
    for start in range(0, size, chunk):
        part = {name: x[start : start + chunk] if x.dim() else x for name, x in batch.items()}
        each, values = _per_sample(game, player, vectors, buffers, part)
        shift = each.mean(0) - mean
        each, share = each - each.mean(0), len(each) / (seen + len(each))
        # Two sets' sums of squares about their means add up, with the squared distance of these means.
        between = torch.outer(shift, shift) if full else shift * shift
        total = total + (each.T @ each if full else (each * each).sum(0)) + seen * share * between
        mean, loss, seen = mean + share * shift, loss + values.sum() / size, seen + len(each)
    return Evaluation({player: mean}, {player: loss}, buffers), total / (size - 1)


def _layered_covariance(
    game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch, full: bool, size: int, layers: Layers
) -> tuple[Evaluation, Tensor]:
    """Return what `gradient_covariance` does from the derivatives by the layers' outputs."""

    def shifted(shifts: Tensor) -> tuple[Tensor, tuple[dict[str, Tensor], Buffers, list[Tensor]]]:
        with layers.shifted(layers.cut(shifts, size)) as inputs, exact(game, False):
            losses, after = game.losses(vectors, buffers, batch, (player,))
        return losses[player], (losses, after, inputs)

    shifts = layers.shifts(size, vectors[player])
    slopes, (losses, after, inputs) = torch.func.grad(shifted, has_aux=True)(shifts)
    slopes, inputs = layers.cut(slopes, size), [h.to(shifts.dtype) for h in inputs]  # bfloat16 under autocast
    if full:
        each = size * layers.gradients(inputs, slopes)
        block = each.mean(0)
        covariance = (each - block).T @ (each - block) / (size - 1)
    else:
        block, squares = layers.moments(inputs, slopes)  # of the samples' shares of the mean: gradients by B
        covariance = ((size * squares - block * block) * (size / (size - 1))).clamp(min=0.0)
    return Evaluation({player: block}, losses, after), covariance


_LAYERS: WeakKeyDictionary[Game, dict[str, Layers | None]] = WeakKeyDictionary()  # found once a game, by trying


def through_layers(game: Game, player: str) -> bool:
    """Return whether a player's parameters enter its loss through linear layers alone.

    Found out by trying, and remembered; a step that is traced cannot try, and takes the longer way if nobody has asked.
    """
    known = _LAYERS.setdefault(game, {})
    if player not in known:
        known[player] = _found_layers(game, player)
    return known[player] is not None


def _found_layers(game: Game, player: str) -> Layers | None:
    """Return the layers if, at some point, the gradient by way of them is the gradient."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    device = vectors[player].device  # the modules may be on another than the generator
    batch = {name: tensor.to(device) for name, tensor in game.draw(generator).items()}
    batch = game.dated(batch, torch.zeros((), dtype=torch.int64, device=device))
    # Not where training begins: there a network may be zero, and so may terms that count later.
    shifts = {n: torch.randn(v.shape, generator=generator, dtype=v.dtype).to(device) for n, v in vectors.items()}
    vectors = {n: v + 0.1 * shifts[n] for n, v in vectors.items()}
    layers = Layers.of(vectors[player], lambda: game.losses(vectors, buffers, batch, (player,)))
    sizes = {len(tensor) for tensor in batch.values() if tensor.dim()}
    if layers is None or len(sizes) != 1:
        return None
    try:
        found = _layered_covariance(game, player, vectors, buffers, batch, False, sizes.pop(), layers)[0].field[player]
    except RuntimeError:  # a layer that sees another number of rows than there are samples
        return None
    expected = player_gradient(game, player, vectors, buffers, batch).field[player]
    same = (found - expected).norm() <= 1e3 * torch.finfo(found.dtype).eps * expected.norm()
    return layers if bool(same) else None


def output_gradient(output: Tensor, at: Tensor) -> Tensor:
    """Return ∇ Σ output with respect to a tensor, of its shape; zero where the output does not depend on it."""
    (gradient,) = torch.autograd.grad(output.sum(), at, materialize_grads=True)
    return gradient


def input_gradient(score: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Return the gradient of each sample's score with respect to that sample, differentiable further.

    Args:
        score: a function from samples (batch, …) to scores (batch,) that treats samples one by one.
        samples: where to differentiate, (batch, …).

    Returns:
        The gradients, in the shape of `samples`.
    """
    if _transformed(samples) or torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore
        with exact_within():
            return torch.func.grad(lambda x: score(x).sum())(samples)
    with torch.enable_grad(), exact_within():
        # A sample that hangs on a player's vector stays on the graph: moving it is part of the game.
        at = samples if samples.requires_grad else samples.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(at).sum(), at, create_graph=True, materialize_grads=True)
    return gradient


@_refusing
def linearization(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch
) -> tuple[Evaluation, Callable[[Vectors, tuple[str, ...]], Vectors]]:
    """Return v(x) and (u, wanted) ↦ J(x)ᵀu for many products: the graph of v is built once and kept.

    Of u only some players' blocks, (n_i,), need be given; `wanted` names the columns of J, whose blocks are returned.
    """
    _require_whole("products with one and the same Jacobian")
    names = game.players
    if _transformed(*vectors.values()):

        def blocks_at(at: Vectors) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
            return _functional(game, at, buffers, batch, names)

        blocks, pull, (losses, new_buffers) = torch.func.vjp(blocks_at, vectors, has_aux=True)  # pyright: ignore

        def mapped(u: Vectors, wanted: tuple[str, ...]) -> Vectors:
            with refusing(game):
                (product,) = pull({name: u.get(name, torch.zeros_like(vectors[name])) for name in names})
            return {name: product[name] for name in wanted}

        return Evaluation(blocks, losses, new_buffers), mapped
    with torch.enable_grad():
        leaves = _leaves(vectors, names)
        evaluation = _gradients(game, leaves, buffers, batch, names, differentiable=True)

    def taped(u: Vectors, wanted: tuple[str, ...]) -> Vectors:
        rows = [evaluation.field[name] for name in u]
        with refusing(game):
            product = _products(rows, [leaves[name] for name in wanted], list(u.values()), retain_graph=True)
        return dict(zip(wanted, product, strict=True))

    return _plain(evaluation), taped


@_refusing
def field_products(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[Evaluation, Vectors, Vectors]:
    """Return v(x), J(x)ᵀ v(x) and J(x) v(x), from one forward pass; what parts J into symmetric and antisymmetric.

    As in `jacobian_vector`, J v is the derivative of u ↦ Jᵀu, here taken at u = v, so that Jᵀv costs nothing more.
    """
    _require_whole("products with the Jacobian and its transpose")
    names = game.players
    if _transformed(*vectors.values()):

        def blocks_at(at: Vectors) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
            return _functional(game, at, buffers, batch, names)

        def transposed(u: Vectors) -> Vectors:
            return torch.func.vjp(blocks_at, vectors, has_aux=True)[1](u)[0]

        blocks, (losses, new_buffers) = blocks_at(vectors)
        backward, pull = torch.func.vjp(transposed, blocks)  # pyright: ignore[reportAssignmentType]
        return Evaluation(blocks, losses, new_buffers), backward, pull(blocks)[0]
    with torch.enable_grad():
        leaves = _leaves(vectors, names)
        evaluation = _gradients(game, leaves, buffers, batch, names, differentiable=True)
        rows, columns = [evaluation.field[name] for name in names], [leaves[name] for name in names]
        given = [row.detach().requires_grad_() for row in rows]
        backward = _products(rows, columns, given, create_graph=True)
        forward = _products(backward, given, [row.detach() for row in rows])
    told = _plain(evaluation)
    return told, {n: b.detach() for n, b in zip(names, backward, strict=True)}, dict(zip(names, forward, strict=True))


@_refusing
def unrolled_gradient(
    game: Game,
    player: str,
    opponent: str,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    move: Callable[[Tensor, Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]],
    memory: dict[str, Tensor],
    steps: int,
) -> tuple[Evaluation, dict[str, Tensor]]:
    """Return ∇_x L_x(x, y_K(x)), where y_K is where the opponent goes from y in K moves, and differentiated too.

    Args:
        game: the game.
        player: x, who looks ahead.
        opponent: y, who moves in x's imagination.
        vectors: the point (x, y), each player's (n_i,).
        buffers: the modules' buffers, the same for all K moves.
        batch: one batch, used for everything.
        move: (y, ∇_y L_y, memory) ↦ (next y, next memory), differentiable.
        memory: what `move` remembers, before the first move.
        steps: K, ≥ 1.

    Returns:
        The gradient beside the opponent's own ∇_y L_y(x, y), each with its loss and after the opponent's first
        forward pass, and the memory that the opponent's first move left.
    """
    _require_whole("the gradient through an opponent's imagined moves")
    mapped = _transformed(*vectors.values())

    def imagined(x: Tensor) -> tuple[Tensor, tuple[Tensor, Vectors, dict[str, Tensor], Buffers, dict[str, Tensor]]]:
        at, known, first = {**_leaves(vectors, () if mapped else (opponent,)), player: x}, memory, None
        for _ in range(steps):
            if mapped:
                blocks, (losses, after) = _functional(game, at, buffers, batch, (opponent,))
            else:
                evaluation = _gradients(game, at, buffers, batch, (opponent,), differentiable=True)
                blocks, losses, after = evaluation.field, evaluation.losses, evaluation.buffers
            moved, known = move(at[opponent], blocks[opponent], known)
            at, first = {**at, opponent: moved}, first or (blocks, losses, after, known)
        with exact(game, False):
            loss = game.losses(at, buffers, batch, (player,))[0][player]
        assert first is not None
        return loss, (loss, *first)

    if mapped:
        block, (loss, blocks, losses, after, known) = torch.func.grad(imagined, has_aux=True)(vectors[player])
    else:
        with torch.enable_grad():
            x = _leaves(vectors, (player,))[player]
            loss, (_, blocks, losses, after, known) = imagined(x)
            (block,) = _products([loss], [x], [torch.ones_like(loss)])
    told = Evaluation({**blocks, player: block}, {**losses, player: loss}, after)
    return _plain(told), {name: tensor.detach() for name, tensor in known.items()}
