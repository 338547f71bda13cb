"""Kinds of discriminator outputs: logits or probabilities, with conversion and checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from detente.errors import InvalidValue, require
from detente.objectives.base import Objective

Scores = Literal["logits", "probabilities"]
SCALES = (1.0, 10.0, 100.0, 1000.0)
# Nodes of autograd's graph with values in (0, 1), and nodes that only reshape or average their input.
SQUASHING = ("Sigmoid", "Hardsigmoid", "Softmax")
RESHAPING = (
    "View",
    "UnsafeView",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Select",
    "Permute",
    "Transpose",
    "T",
    "Alias",
    "Clone",
    "ToCopy",
    "Mean",
    "Slice",
    "Expand",
)


def logits_of(probabilities: Tensor) -> Tensor:
    """Return log(p/(1 − p)), with p clamped to [ε, 1 − ε] for the precision ε of its dtype, so that all are finite."""
    epsilon = torch.finfo(probabilities.dtype).eps
    p = probabilities.clamp(epsilon, 1 - epsilon)
    return p.log() - (-p).log1p()


def as_logits(scores: Any, kind: Scores) -> Any:
    """Return a discriminator's outputs as logits: (batch,) for one a sample, and maps of scores in their own shape."""

    def logits(output: Tensor) -> Tensor:
        output = output if kind == "logits" else logits_of(output)
        return output.flatten() if output.numel() == output.shape[0] else output

    return logits(scores) if isinstance(scores, Tensor) else tree_map_only(Tensor, logits, scores)


def mean_of_maps(scores: Any) -> Tensor:
    """Return the mean of each sample's scores, (batch,): over a map, and then over the maps."""
    if isinstance(scores, Tensor) and scores.dim() == 1:
        return scores
    return torch.stack([output.reshape(len(output), -1).mean(1) for output in tree_leaves(scores)]).mean(0)


def require_scores(scores: Any, batch: int) -> None:
    """Raise `InvalidValue` unless a discriminator's outputs are scores, or maps of scores, of `batch` samples."""
    outputs = tree_leaves(scores)
    tensors = len(outputs) > 0 and all(isinstance(output, Tensor) for output in outputs)
    kinds = [type(output).__name__ for output in outputs]
    require(tensors, "discriminator", kinds, "a module that returns a tensor, or several in lists or dictionaries")
    for output in outputs:
        count = output.shape[0] if output.dim() else 0
        fits = count > min(1, batch - 1) and batch % count == 0
        is_map = output.dim() > 2 or not isinstance(scores, Tensor)  # (batch, 10) alone is rather a classifier
        require(
            fits and (is_map or output.numel() == count),
            "discriminator",
            f"output of shape {tuple(output.shape)} for {batch} samples",
            "one score a sample, (batch,) or (batch, 1, …); or one score for each group of p samples, (batch / p,)",
            "Maps of scores are (batch, channels, …), or several outputs in a list",
        )


def require_probabilities(module: nn.Module, scores_at: Callable[[float], Tensor]) -> None:
    """Raise `InvalidValue` unless a discriminator's outputs stay within [0, 1].

    Args:
        module: the discriminator, for the message.
        scores_at: returns its outputs for random samples of a given scale.
    """
    with torch.no_grad():
        outputs = torch.cat([scores_at(scale).flatten() for scale in SCALES])
    outputs = outputs[outputs.isfinite()]
    low, high = (float(outputs.min()), float(outputs.max())) if len(outputs) else (0.0, 1.0)
    allowed = 'probabilities in [0, 1], since scores="probabilities"'
    hint = 'For unbounded scores: scores="logits"'
    require(0 <= low and high <= 1, "discriminator", f"outputs from {low:g} to {high:g}", allowed, hint)


def require_logits(module: nn.Module, scores_at: Callable[[float], Tensor], objective: Objective) -> None:
    """Raise `InvalidValue` if a discriminator ends in a sigmoid but the objective expects logits.

    A sigmoid is detected in the graph of the outputs, or if the outputs fill [0, 1] and never leave it, even for
    samples scaled by 1000. For objectives that do not need logits, this is only a warning.

    Args:
        module: the discriminator, for the message.
        scores_at: returns its outputs for random samples of a given scale.
        objective: the objective that uses the scores.
    """
    with torch.enable_grad():
        has_sigmoid = _ends_in_sigmoid(scores_at(1.0).grad_fn)
    if not has_sigmoid:
        with torch.no_grad():
            outputs = torch.cat([scores_at(scale).flatten() for scale in SCALES])
        outputs = outputs[outputs.isfinite()]
        has_sigmoid = len(outputs) > 0 and bool(0 <= outputs.min() < 0.05 and 0.95 < outputs.max() <= 1)
    if not has_sigmoid:
        return
    description = f"{type(module).__name__}, whose outputs are probabilities in [0, 1] (does it end in a sigmoid?)"
    hint = 'Use scores="probabilities" (--game.scores probabilities), or remove the sigmoid'
    if objective.needs_logits:
        raise InvalidValue(
            "discriminator", description, f"unbounded scores (logits) for {type(objective).__name__}", hint
        )
    warnings.warn(
        f"discriminator: {description}, and {type(objective).__name__} uses them unchanged. {hint}", stacklevel=5
    )


def _ends_in_sigmoid(node: Any) -> bool:
    """Whether a node of autograd's graph has values in (0, 1), possibly reshaped or averaged afterwards."""
    while node is not None:
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        if name.startswith(SQUASHING) or _is_sigmoid_formula(node):
            return True
        if name not in RESHAPING:
            return False
        node = node.next_functions[0][0] if node.next_functions else None
    return False


def _is_sigmoid_formula(node: Any) -> bool:
    """Whether a node is 1/(1 + exp(…)), a sigmoid written as a formula."""
    for names in (("Mul", "Div", "Reciprocal"), ("Reciprocal", "Add", "Div"), ("Add", "Exp"), ("Exp",)):
        if node is None or not type(node).__name__.startswith(names):
            return False
        if type(node).__name__.startswith("Exp"):
            return True
        node = next((following for following, _ in node.next_functions if following is not None), None)
    return False
