"""Errors of the library about a set-up, as findings."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from torch import nn

from detente.checks.base import Finding
from detente.errors import InvalidValue

CERTAINTY = 0.95
NETWORKS = ("generator", "discriminator")
# What is looked for in a refusal, in this order: the failure that it shows, and what to change.
KINDS = (
    (
        r"more than 1 (spatial element|value per channel)",
        "normalisation",
        "Remove normalisation over a single number: of a map of one pixel, or a batch of one sample.",
    ),
    (
        r"outputs are probabilities",
        "wiring",
        "Remove the sigmoid at the discriminator's end, or pass scores='probabilities'.",
    ),
    (
        r"scores=.probabilities",
        "wiring",
        "Pass scores='logits' (the default), or end the discriminator with a sigmoid.",
    ),
    (
        r"(?i)\bnan\b|\binf\b|infinit|not finite|finite (values|numbers|samples)",
        "blow-up",
        "Remove samples with NaN or infinity, or replace the values, where the data are read.",
    ),
    (
        r"samples of the data's shape",
        "wiring",
        "Let the generator's last layer return samples of the data's shape, or reshape the data.",
    ),
    (
        r"one score a sample",
        "wiring",
        "Let the discriminator end in one number for each sample, such as nn.Linear(features, 1).",
    ),
    (
        r"(?i)\blosses\.\S*(\bgp\b|penalty|lipschitz|\br[12]\b)",
        "penalty or Lipschitz bound wrong",
        "Keep the graph of the slope: net.discriminator.gradient(x), or create_graph=True, and no detach.",
    ),
    (r"at most the \d+ samples", "too few data", "Use a smaller batch, or more data."),
    (r"(?i)label", "labels ignored", "Give one integer label, 0 … K − 1, with each sample."),
    (r"without a gradient|does not depend on|detach", "wiring", "Do not detach what a loss depends on."),
)


def is_refusal(error: InvalidValue) -> bool:
    """Return whether an error is about the user's networks, losses or data, rather than about an option."""
    cause: BaseException | None = error
    while isinstance(cause, InvalidValue):
        if cause.field in NETWORKS or cause.field.startswith("losses"):
            return True
        if cause.field.startswith(("data", "samples")) and re.search(KINDS[3][0], str(cause)):
            return True
        cause = cause.__cause__
    return False


def refusal_finding(error: InvalidValue) -> Finding:
    """Return what a refusal of `Adversarial(…)` or `Networks(…)` says about the set-up.

    If one of the user's networks raised an error, the evidence names the network, the error and the layer.

    Args:
        error: the refusal.
    """
    text = str(error)
    raised = _raised(error)
    failure, remedy = "wiring", f"Allowed: {error.allowed}." + (f" {error.hint}." if error.hint else "")
    for pattern, kind, advice in KINDS:
        if re.search(pattern, text if raised is None else raised):
            failure, remedy = kind, advice
            break
    if raised is not None:
        if failure == "wiring":
            remedy = "Correct this layer, or its input: it is called with batches of samples or latents."
        return Finding(failure, raised, CERTAINTY, remedy)
    value = " ".join(str(error.value).split())
    evidence = f"The {error.field} was refused: {value if len(value) <= 200 else value[:197] + '…'}."
    if error.field in NETWORKS or error.field.startswith("losses"):
        evidence = f"Your {error.field} was refused: {value[:200]}, where {error.allowed} is needed."
    return Finding(failure, evidence, CERTAINTY, remedy)


def _raised(error: BaseException) -> str | None:
    """Return a sentence about the error that a user's network raised, or None."""
    cause = error
    while isinstance(cause, InvalidValue):
        if cause.__cause__ is None:
            return None
        cause = cause.__cause__
    modules = [(frame, module) for frame, module in _modules(cause) if not _is_ours(module)]
    field = error.field if isinstance(error, InvalidValue) else ""
    message = " ".join(str(cause).split())
    message = f"{type(cause).__name__}: {message if len(message) <= 200 else message[:197] + '…'}".rstrip(": ")
    if not modules:
        return f"Your {field} raised {message}."
    outer, inner = modules[0][1], modules[-1][1]
    player = field if field in NETWORKS else _player(cause) or field
    name = next((name for name, part in outer.named_modules() if part is inner), "")
    layer = f"layer {name} ({_described(inner)})" if name else f"its own forward ({type(inner).__name__})"
    return f"Your {player} raised {message}, in {layer}{_line(cause)}."


def _frames(cause: BaseException) -> Iterator[tuple[FrameType, int]]:
    error: BaseException | None = cause
    if error is not None:
        yield from traceback.walk_tb(error.__traceback__)


def _modules(cause: BaseException) -> Iterator[tuple[FrameType, nn.Module]]:
    """Yield the modules whose methods were running, outermost first."""
    for frame, _ in _frames(cause):
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            yield frame, owner


def _player(cause: BaseException) -> str | None:
    """Return the player that was called, from the frames of `Net.call`."""
    for frame, _ in _frames(cause):
        player = frame.f_locals.get("player")
        if isinstance(player, str):
            return player
    return None


def _is_ours(module: Any) -> bool:
    return type(module).__module__.startswith("detente.modules")


def _described(layer: nn.Module) -> str:
    text = " ".join(repr(layer).split())
    return text if len(text) <= 80 else type(layer).__name__


def _line(cause: BaseException) -> str:
    """Return where in the user's own file the error arose, if it did there."""
    user_frames = [
        (frame.f_code.co_filename, number)
        for frame, number in _frames(cause)
        if isinstance(frame.f_locals.get("self"), nn.Module)
        and not frame.f_code.co_filename.startswith((_OURS, "<"))
        and "site-packages" not in frame.f_code.co_filename
    ]
    return f", line {user_frames[-1][1]} of {Path(user_frames[-1][0]).name}" if user_frames else ""


_OURS = str(Path(__file__).parents[1])
