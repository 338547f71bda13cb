"""Derivatives with respect to samples and other inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from detente.autodiff.engines import gradients, is_transformed
from detente.autodiff.exact_derivatives import exact_within
from detente.errors import InvalidValue, require
from detente.nested import tensors_of
from detente.ranks import mean_over_ranks, ranks, sum_over_ranks


def output_gradient(output: Tensor, at: Tensor) -> Tensor:
    """Return ∇ Σ output with respect to the tensor `at`, in its shape; zero if the output does not depend on it."""
    (gradient,) = torch.autograd.grad(output.sum(), at, materialize_grads=True)
    return gradient


def constant_gradient(loss: Tensor, at: Tensor) -> Tensor | None:
    """Return the gradient of a loss with respect to a tensor on its graph, as a constant; None if there is no graph.

    The graph is kept, for the players' own gradients, and the result is not part of it. Over ranks, it is the gradient
    of the whole batch's loss: all of it for a parameter, this rank's rows of it for any other tensor.

    Args:
        loss: the loss, ().
        at: a parameter, an output of a module, or any other tensor that the loss was computed from.

    Returns:
        The gradient, in the shape of `at`: zero if the loss does not depend on `at`, None if nothing on which `at`
        depends is being differentiated.

    Raises:
        InvalidValue: `torch.func` transforms the tensors, e.g. since seeds are mapped, so that there is no graph.
    """
    if is_transformed(loss, at) or torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore
        allowed = "a tensor on autograd's graph, which neither steps mapped over seeds nor `torch.func` have"
        raise InvalidValue("at", f"a tensor of shape {tuple(at.shape)}", allowed)
    if not (at.requires_grad and loss.requires_grad):
        return None
    (gradient,) = torch.autograd.grad(loss, at, retain_graph=True, materialize_grads=True)
    if (current := ranks()) is None:
        return gradient
    return mean_over_ranks([gradient])[0] if _is_parameter(at) else gradient / current.count


def constant_gradient_norm(gradient: Tensor, at: Tensor, per_sample: bool = False) -> Tensor:
    """Return the norm, (), of a result of `constant_gradient`, over the rows of all ranks.

    Args:
        gradient: the gradient at `at`.
        at: the tensor.
        per_sample: return the mean over samples of the norms of their gradients, if `at` has samples.
    """
    if per_sample and gradient.dim() > 1:
        norm = gradient.flatten(1).norm(dim=1).mean()
        return norm if _is_parameter(at) else mean_over_ranks([norm])[0]
    if ranks() is None or _is_parameter(at):
        return gradient.norm()
    return sum_over_ranks(gradient.square().sum()).sqrt()


def _is_parameter(tensor: Tensor) -> bool:
    """Whether a tensor is a parameter, that is, a vector or a view of one, and not computed from a batch."""
    return tensor.is_leaf or (tensor._base is not None and tensor._base.is_leaf)


def input_gradient(score: Callable[[Tensor], Any], samples: Tensor) -> Tensor:
    """Return the gradient of each sample's score with respect to that sample; it can be differentiated again.

    Args:
        score: a function from samples (batch, …) to scores, where each score depends only on its sample: (batch,), or
            maps of any shape, also several in lists, tuples and dictionaries; all scores of a sample are added.
        samples: points at which to differentiate, (batch, …).

    Returns:
        The gradients, in the shape of `samples`.
    """
    if is_transformed(samples) or torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore
        with exact_within():
            return torch.func.grad(lambda x: _total(score(x)))(samples)
    with torch.enable_grad():
        # Samples that depend on a player's vector stay on the graph, since that player moves them.
        at = samples if samples.requires_grad else samples.detach().requires_grad_()
        with exact_within():  # replaces torch's functions where they are called; autograd calls none of them
            scores = score(at)
        (gradient,) = gradients(_total(scores), [at], retain=True, differentiable=True)
    return gradient


def _total(scores: Any) -> Tensor:
    """Return the sum of all scores, (), of a tensor or of several, nested in any form."""
    if isinstance(scores, Tensor):
        return scores.sum()
    sums: list[Tensor] = [tensor.sum() for tensor in tensors_of(scores)]
    require(len(sums) > 0, "gradient", type(scores).__name__, "tensors, also nested in tuples, lists, dictionaries")
    return sum(sums[1:], sums[0])
