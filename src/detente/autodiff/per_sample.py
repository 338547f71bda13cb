"""Per-sample gradients, and their covariance over the samples of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.autodiff.accumulation import require_whole_batch
from detente.autodiff.engines import Evaluation, refused_by_name
from detente.autodiff.exact_derivatives import exact
from detente.autodiff.field import player_gradient
from detente.autodiff.over_ranks import evaluation_over_ranks
from detente.autodiff.tracing import is_eager
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import mean_over_ranks, ranks, together
from detente.shortcuts.layered_moments import Layers

LARGEST_PART = 2**22  # maximum number of elements of per-sample gradients in memory at once


@refused_by_name
def per_sample_gradients(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> Tensor:
    """Return the gradient of `player`'s loss on each sample of the batch separately, (batch, n_i).

    Their mean is the batch gradient if the loss is a mean over samples and no layer mixes them (BatchNorm does).
    Scalars in the batch, such as the step "t", are used for every sample.
    """
    return _per_sample(game, player, vectors, buffers, batch)[0]


def _per_sample(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return gradient, (batch, n_i), and loss, (batch,), of each sample separately."""
    samples = {name: tensor for name, tensor in batch.items() if tensor.dim()}

    def loss(vector: Tensor, sample: Batch) -> Tensor:
        batch_of_one = {**batch, **{name: tensor.unsqueeze(0) for name, tensor in sample.items()}}
        with exact(game, False):
            losses, _ = game.losses({**vectors, player: vector}, buffers, batch_of_one, (player,))
        return losses[player]

    with together(None):  # a sample is a batch of its own
        return torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(None, 0))(vectors[player], samples)


@refused_by_name
def gradient_covariance(
    game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch, full: bool = False
) -> tuple[Evaluation, Tensor]:
    """Return a player's block of the field, and the covariance of its samples' gradients.

    V = 1/(B−1) Σ_b (g_b − ḡ)(g_b − ḡ)ᵀ for a loss that is a mean over B samples which no layer mixes. A player made of
    linear layers costs little more than one gradient; others are differentiated sample by sample.

    Args:
        game: the game.
        player: player whose gradients are computed.
        vectors: the point, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch of B ≥ 2 samples.
        full: whether to return V, (n_i, n_i), instead of its diagonal, (n_i,).
    """
    require_whole_batch(game, "a covariance over the samples of a batch")
    size = next(len(tensor) for tensor in batch.values() if tensor.dim())
    if is_eager(*vectors.values(), *batch.values()):
        through_layers(game, player)
    use = "layered_moments" in game.evaluation_settings.shortcuts
    layers = game.evaluation_memo.get(("linear layers", player)) if use else None
    if layers is not None:
        local = _layered_covariance(game, player, vectors, buffers, batch, full, size, layers)
        return _covariance_over_ranks(player, *local, full, size)
    evaluation, covariance = _sampled_covariance(game, player, vectors, buffers, batch, full, size)
    if any(buffers.values()):  # the whole batch updates them, as everywhere else
        with torch.no_grad():
            losses, new_buffers = game.losses(vectors, buffers, batch, (player,))
        evaluation = Evaluation(evaluation.field, losses, new_buffers)
    return _covariance_over_ranks(player, evaluation, covariance, full, size)


def _covariance_over_ranks(
    player: str, evaluation: Evaluation, covariance: Tensor, full: bool, size: int
) -> tuple[Evaluation, Tensor]:
    """Return the covariance over the samples of all ranks: that within each rank, and that of the ranks' means.

    (RB − 1) V = Σ_r [(B − 1) V_r + B (ḡ_r − ḡ)(ḡ_r − ḡ)ᵀ] with B samples on each of R ranks, which are two messages.

    Source: Chan, Golub & LeVeque 1983, Algorithms for Computing the Sample Variance, equation 1.5.
    """
    current = ranks()
    if current is None:
        return evaluation, covariance
    own, evaluation = evaluation.field[player], evaluation_over_ranks(evaluation)
    shift = own - evaluation.field[player]
    between = torch.outer(shift, shift) if full else shift * shift
    (mean,) = mean_over_ranks([(size - 1) * covariance + size * between])
    return evaluation, mean * (current.count / (current.count * size - 1))


def _sampled_covariance(
    game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch, full: bool, size: int
) -> tuple[Evaluation, Tensor]:
    """Return the results of `gradient_covariance` from per-sample gradients, in chunks to save memory."""
    vector = vectors[player]
    chunk = max(8, LARGEST_PART // len(vector))
    mean, total, loss, count = torch.zeros_like(vector), torch.zeros_like(vector), vector.new_zeros(()), 0
    total = total.new_zeros(len(vector), len(vector)) if full else total
    for start in range(0, size, chunk):
        part = {name: x[start : start + chunk] if x.dim() else x for name, x in batch.items()}
        gradients, values = _per_sample(game, player, vectors, buffers, part)
        shift = gradients.mean(0) - mean
        gradients, share = gradients - gradients.mean(0), len(gradients) / (count + len(gradients))
        # Sums of squares about the mean of two sets add up, plus a term with the squared distance of the means.
        between = torch.outer(shift, shift) if full else shift * shift
        total = total + (gradients.T @ gradients if full else (gradients * gradients).sum(0)) + count * share * between
        mean, loss, count = mean + share * shift, loss + values.sum() / size, count + len(gradients)
    return Evaluation({player: mean}, {player: loss}, buffers), total / (size - 1)


def _layered_covariance(
    game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch, full: bool, size: int, layers: Layers
) -> tuple[Evaluation, Tensor]:
    """Return the results of `gradient_covariance` from the derivatives with respect to the layers' outputs."""

    def shifted(shifts: Tensor) -> tuple[Tensor, tuple[dict[str, Tensor], Buffers, list[Tensor]]]:
        with layers.shifted(layers.cut(shifts, size)) as inputs, exact(game, False):
            losses, new_buffers = game.losses(vectors, buffers, batch, (player,))
        return losses[player], (losses, new_buffers, inputs)

    shifts = layers.shifts(size, vectors[player])
    slopes, (losses, new_buffers, inputs) = torch.func.grad(shifted, has_aux=True)(shifts)
    slopes, inputs = layers.cut(slopes, size), [h.to(shifts.dtype) for h in inputs]  # bfloat16 under autocast
    if full:
        gradients = size * layers.gradients(inputs, slopes)
        block = gradients.mean(0)
        covariance = (gradients - block).T @ (gradients - block) / (size - 1)
    else:
        block, squares = layers.moments(inputs, slopes)  # of gradients divided by B, as they enter the mean
        covariance = ((size * squares - block * block) * (size / (size - 1))).clamp(min=0.0)
    return Evaluation({player: block}, losses, new_buffers), covariance


def through_layers(game: Game, player: str) -> bool:
    """Return whether a player's parameters enter its loss only through linear layers.

    The result of a test evaluation is cached. A traced step cannot evaluate the test; without a cached result, it uses
    per-sample gradients.
    """
    key = ("linear layers", player)
    if key not in game.evaluation_memo:
        with together(None):  # every rank evaluates the same test
            game.evaluation_memo[key] = _find_layers(game, player)
    return game.evaluation_memo[key] is not None


def _find_layers(game: Game, player: str) -> Layers | None:
    """Return the layers if the gradient computed through them equals the gradient at a test point, otherwise None."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    device = vectors[player].device  # it may differ from the generator's device
    batch = {name: tensor.to(device) for name, tensor in game.draw(generator).items()}
    batch = game.with_step(batch, torch.zeros((), dtype=torch.int64, device=device))
    # Not the initial point: there a network may be zero, and so may terms that matter later.
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
    except RuntimeError:  # a layer's number of input rows is not the number of samples
        return None
    expected = player_gradient(game, player, vectors, buffers, batch).field[player]
    agrees = (through_outputs - expected).norm() <= 1e3 * torch.finfo(through_outputs.dtype).eps * expected.norm()
    return layers if bool(agrees) else None
