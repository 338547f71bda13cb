"""Gradient accumulation: a batch is evaluated in parts, and only one part's graph is in memory at a time.

If losses are means over samples that no layer mixes, `vector_field` and `vector_jacobian` give the same results as for
the whole batch, up to rounding. BatchNorm normalises each part separately. Every part starts with the same buffers, and
the new buffers are averaged.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from detente.autodiff.engines import Evaluation
from detente.errors import InvalidValue
from detente.game import Batch, Game, Vectors
from detente.state import flatten, unflatten


def parts_of(game: Game, batch: Batch) -> list[tuple[Batch, float]]:
    """Return the parts of a batch, each with its share of all samples up to and including this part."""
    requested = game.evaluation_settings.accumulate
    if requested == 1:
        return [(batch, 1.0)]
    samples = {name: tensor for name, tensor in batch.items() if tensor.dim()}
    sizes = {len(tensor) for tensor in samples.values()}
    if len(sizes) != 1:
        shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
        hint = f"This batch has the shapes {shapes}"
        raise InvalidValue("accumulate", requested, "1 for a game without one row per sample in its batches", hint)
    (size,) = sizes
    count, parts, count_so_far = min(requested, size), [], 0
    cut = {name: tensor.tensor_split(count) for name, tensor in samples.items()}
    for index in range(count):
        part = {**batch, **{name: pieces[index] for name, pieces in cut.items()}}
        if "seed" in batch:  # layers that draw random numbers need a different seed for each part
            part["seed"] = batch["seed"] + index
        length = len(next(iter(cut.values()))[index])
        count_so_far += length
        parts.append((part, length / count_so_far))
    return parts


def averaged(
    evaluate: Callable[[Batch], tuple[Evaluation, Vectors]], parts: list[tuple[Batch, float]]
) -> tuple[Evaluation, Vectors]:
    """Return the mean of an evaluation and of additional vectors over the parts of a batch, evaluated one by one."""
    if len(parts) == 1:
        return evaluate(parts[0][0])
    mean: dict[str, Tensor] = {}
    tree_of_part = {}
    for part, share in parts:
        evaluation, vectors = evaluate(part)
        tree_of_part = {
            "field": evaluation.field,
            "losses": evaluation.losses,
            "buffers": evaluation.buffers,
            "": vectors,
        }
        latest = flatten(tree_of_part)
        # A running mean keeps values on which all parts agree exact; integers (counts) are the same in all parts.
        mean = {
            name: mean[name].lerp(tensor, share) if name in mean and tensor.is_floating_point() else tensor
            for name, tensor in latest.items()
        }
    tree = unflatten(mean, tree_of_part)
    vectors = tree.pop("")
    return Evaluation(**tree), vectors


def require_whole_batch(game: Game, quantity: str) -> None:
    """Raise `InvalidValue` if batches are split but a derivative needs the whole batch."""
    allowed = "1 with a field that differentiates the whole batch at once"
    if (parts := game.evaluation_settings.accumulate) > 1:
        raise InvalidValue("accumulate", parts, allowed, f"This field computes {quantity}")
