"""Gradient accumulation: a batch is evaluated in parts, and one part's graph is held at a time.

`vector_field` and `vector_jacobian` return what they return for the whole batch, to rounding, where losses are means
over samples that no layer mixes. BatchNorm normalises each part by itself. Every part begins with the same buffers, and
what it makes of them is averaged.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from detente.autodiff.engines import Evaluation
from detente.errors import InvalidValue
from detente.game import Batch, Game, Vectors
from detente.state import flatten, unflatten


def parts_of(game: Game, batch: Batch) -> list[tuple[Batch, float]]:
    """Return the parts of a batch, each with its share of the samples in it and in those before it."""
    requested = game.settings.accumulate
    if requested == 1:
        return [(batch, 1.0)]
    samples = {name: tensor for name, tensor in batch.items() if tensor.dim()}
    sizes = {len(tensor) for tensor in samples.values()}
    if len(sizes) != 1:
        shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
        hint = f"This one's batch holds {shapes}"
        raise InvalidValue("accumulate", requested, "1 for a game whose batch is not one row a sample", hint)
    (size,) = sizes
    count, parts, count_so_far = min(requested, size), [], 0
    cut = {name: tensor.tensor_split(count) for name, tensor in samples.items()}
    for index in range(count):
        part = {**batch, **{name: pieces[index] for name, pieces in cut.items()}}
        if "seed" in batch:  # of random numbers that layers draw: others in every part
            part["seed"] = batch["seed"] + index
        length = len(next(iter(cut.values()))[index])
        count_so_far += length
        parts.append((part, length / count_so_far))
    return parts


def averaged(
    evaluate: Callable[[Batch], tuple[Evaluation, Vectors]], parts: list[tuple[Batch, float]]
) -> tuple[Evaluation, Vectors]:
    """Return the mean over the parts of a batch of an evaluation and of vectors beside it, one part after the other."""
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
        # Steps towards the latest leave alone what all parts agree on; counts are whole numbers, the same in all.
        mean = {
            name: mean[name].lerp(tensor, share) if name in mean and tensor.is_floating_point() else tensor
            for name, tensor in latest.items()
        }
    tree = unflatten(mean, tree_of_part)
    vectors = tree.pop("")
    return Evaluation(**tree), vectors


def require_whole_batch(game: Game, what: str) -> None:
    """Raise `InvalidValue` where batches are split, but a derivative needs the whole batch."""
    allowed = "1 with a field that differentiates the whole batch at once"
    if (parts := game.settings.accumulate) > 1:
        raise InvalidValue("accumulate", parts, allowed, f"This one takes {what}")
