"""What a discriminator's numbers mean: logits, or probabilities that were logits once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from detente.errors import InvalidValue, require
from detente.objectives.base import Objective

Scores = Literal["logits", "probabilities"]
SCALES = (1.0, 10.0, 100.0, 1000.0)
# Nodes of autograd's graph that end in (0, 1), and those that only give such numbers another form.
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
    """Return log(p/(1 − p)), with p kept from 0 and 1 by the precision of its numbers, so that all is finite."""
    least = torch.finfo(probabilities.dtype).eps
    p = probabilities.clamp(least, 1 - least)
    return p.log() - (-p).log1p()


def require_probabilities(module: nn.Module, scores_at: Callable[[float], Tensor]) -> None:
    """Raise `InvalidValue` unless a discriminator's outputs stay within [0, 1].

    Args:
        module: the discriminator, for the message.
        scores_at: its outputs for random samples of a scale.
    """
    with torch.no_grad():
        outputs = torch.cat([scores_at(scale).flatten() for scale in SCALES])
    outputs = outputs[outputs.isfinite()]
    low, high = (float(outputs.min()), float(outputs.max())) if len(outputs) else (0.0, 1.0)
    allowed = 'probabilities in [0, 1], since scores="probabilities"'
    hint = 'For unbounded scores: scores="logits"'
    require(0 <= low and high <= 1, "discriminator", f"outputs from {low:g} to {high:g}", allowed, hint)


def require_logits(module: nn.Module, scores_at: Callable[[float], Tensor], objective: Objective) -> None:
    """Raise `InvalidValue` where a discriminator ends in a sigmoid under an objective that reads logits.

    It does where the graph of its outputs says so, or where they fill [0, 1] and never leave it though the samples are
    a thousand times larger. Other objectives have bounded scores on purpose, or by mistake: a warning.

    Args:
        module: the discriminator, for the message.
        scores_at: its outputs for random samples of a scale.
        objective: what reads the scores.
    """
    with torch.enable_grad():
        squashed = _squashed(scores_at(1.0).grad_fn)
    if not squashed:
        with torch.no_grad():
            outputs = torch.cat([scores_at(scale).flatten() for scale in SCALES])
        outputs = outputs[outputs.isfinite()]
        squashed = len(outputs) > 0 and bool(0 <= outputs.min() < 0.05 and 0.95 < outputs.max() <= 1)
    if not squashed:
        return
    description = f"{type(module).__name__}, whose outputs are probabilities in [0, 1] (does it end in a sigmoid?)"
    hint = 'Say scores="probabilities" (--game.scores probabilities), or leave the sigmoid out'
    if objective.needs_logits:
        raise InvalidValue(
            "discriminator", description, f"unbounded scores (logits) for {type(objective).__name__}", hint
        )
    warnings.warn(
        f"discriminator: {description}, and {type(objective).__name__} reads them as they are. {hint}", stacklevel=5
    )


def _squashed(node: Any) -> bool:
    """Whether a node of autograd's graph gives numbers in (0, 1), perhaps reshaped or averaged afterwards."""
    while node is not None:
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        if name.startswith(SQUASHING) or _written_out(node):
            return True
        if name not in RESHAPING:
            return False
        node = node.next_functions[0][0] if node.next_functions else None
    return False


def _written_out(node: Any) -> bool:
    """Whether a node is 1/(1 + exp(…)), a sigmoid in its own words."""
    for names in (("Mul", "Div", "Reciprocal"), ("Reciprocal", "Add", "Div"), ("Add", "Exp"), ("Exp",)):
        if node is None or not type(node).__name__.startswith(names):
            return False
        if type(node).__name__.startswith("Exp"):
            return True
        node = next((following for following, _ in node.next_functions if following is not None), None)
    return False
