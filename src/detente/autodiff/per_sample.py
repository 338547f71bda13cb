"""The gradient of each sample alone, and the covariance over a batch's samples."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.autodiff.accumulation import require_whole_batch
from detente.autodiff.engines import Evaluation, refused_by_name
from detente.autodiff.exact_derivatives import exact
from detente.autodiff.field import player_gradient
from detente.autodiff.tracing import is_eager
from detente.game import Batch, Buffers, Game, Vectors
from detente.shortcuts.layered_moments import Layers

LARGEST_PART = 2**22  # numbers in the samples' gradients that are held at once


@refused_by_name
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
        batch_of_one = {**batch, **{name: tensor.unsqueeze(0) for name, tensor in sample.items()}}
        with exact(game, False):
            losses, _ = game.losses({**vectors, player: vector}, buffers, batch_of_one, (player,))
        return losses[player]

    return torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(None, 0))(vectors[player], samples)


@refused_by_name
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
    require_whole_batch(game, "a covariance over the samples of a batch")
    size = next(len(tensor) for tensor in batch.values() if tensor.dim())
    if is_eager(*vectors.values(), *batch.values()):
        through_layers(game, player)
    layers = game.memo.get(("linear layers", player)) if "layered_moments" in game.settings.shortcuts else None
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
    mean, total, loss, count = torch.zeros_like(vector), torch.zeros_like(vector), vector.new_zeros(()), 0
    total = total.new_zeros(len(vector), len(vector)) if full else total
    for start in range(0, size, chunk):
        part = {name: x[start : start + chunk] if x.dim() else x for name, x in batch.items()}
        gradients, values = _per_sample(game, player, vectors, buffers, part)
        shift = gradients.mean(0) - mean
        gradients, share = gradients - gradients.mean(0), len(gradients) / (count + len(gradients))
        # Two sets' sums of squares about their means add up, with the squared distance of these means.
        between = torch.outer(shift, shift) if full else shift * shift
        total = total + (gradients.T @ gradients if full else (gradients * gradients).sum(0)) + count * share * between
        mean, loss, count = mean + share * shift, loss + values.sum() / size, count + len(gradients)
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


def through_layers(game: Game, player: str) -> bool:
    """Return whether a player's parameters enter its loss through linear layers alone.

    Found out by trying, and remembered; a step that is traced cannot try, and takes the longer way if nobody has asked.
    """
    key = ("linear layers", player)
    if key not in game.memo:
        game.memo[key] = _find_layers(game, player)
    return game.memo[key] is not None


def _find_layers(game: Game, player: str) -> Layers | None:
    """Return the layers if, at some point, the gradient by way of them is the gradient."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    device = vectors[player].device  # the modules may be on another than the generator
    batch = {name: tensor.to(device) for name, tensor in game.draw(generator).items()}
    batch = game.with_step(batch, torch.zeros((), dtype=torch.int64, device=device))
    # Not where training begins: there a network may be zero, and so may terms that count later.
    shifts = {n: torch.randn(v.shape, generator=generator, dtype=v.dtype).to(device) for n, v in vectors.items()}
    vectors = {n: v + 0.1 * shifts[n] for n, v in vectors.items()}
    layers = Layers.of(vectors[player], lambda: game.losses(vectors, buffers, batch, (player,)))
    sizes = {len(tensor) for tensor in batch.values() if tensor.dim()}
    if layers is None or len(sizes) != 1:
        return None
    try:
        through_outputs = _layered_covariance(game, player, vectors, buffers, batch, False, sizes.pop(), layers)[
            0
        ].field[player]
    except RuntimeError:  # a layer that sees another number of rows than there are samples
        return None
    expected = player_gradient(game, player, vectors, buffers, batch).field[player]
    agrees = (through_outputs - expected).norm() <= 1e3 * torch.finfo(through_outputs.dtype).eps * expected.norm()
    return layers if bool(agrees) else None
