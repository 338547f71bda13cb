"""Derivatives with respect to samples and other inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from detente.autodiff.engines import is_transformed
from detente.autodiff.exact_derivatives import exact_within


def output_gradient(output: Tensor, at: Tensor) -> Tensor:
    """Return ∇ Σ output with respect to the tensor `at`, in its shape; zero if the output does not depend on it."""
    (gradient,) = torch.autograd.grad(output.sum(), at, materialize_grads=True)
    return gradient


def input_gradient(score: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Return the gradient of each sample's score with respect to that sample; it can be differentiated again.

    Args:
        score: a function from samples (batch, …) to scores (batch,), where each score depends only on its sample.
        samples: points at which to differentiate, (batch, …).

    Returns:
        The gradients, in the shape of `samples`.
    """
    if is_transformed(samples) or torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore
        with exact_within():
            return torch.func.grad(lambda x: score(x).sum())(samples)
    with torch.enable_grad(), exact_within():
        # Samples that depend on a player's vector stay on the graph, since that player moves them.
        at = samples if samples.requires_grad else samples.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(at).sum(), at, create_graph=True, materialize_grads=True)
    return gradient
