"""Spectral normalisation as a pure function of weights and buffers, so that it works with `torch.func`."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from detente.errors import require

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WARM_UP = 15  # iterations before the first use, as in torch's implementation


Module = TypeVar("Module", bound=nn.Module)


def spectral_norm(module: Module, iterations: int = 1, generator: torch.Generator | None = None) -> Module:
    """Divide the weight of each linear and convolutional layer of `module` by its largest singular value, in place.

    W̄ = W / σ(W),  v ← Wᵀu/‖Wᵀu‖,  u ← Wv/‖Wv‖,  σ(W) ≈ uᵀWv, iterated in training mode only.

    As in the paper, derivatives of W̄ treat u and v as constants. This is exact to first order if they have converged,
    but second derivatives omit their change.

    Args:
        module: a linear or convolutional layer, or a network with such layers.
        iterations: power iterations per call in training mode, at least 1.
        generator: source of randomness for the initial u and v; default: a generator with seed 0.

    Returns:
        The module `module`.

    Raises:
        InvalidValue: there is no such layer, a layer is already normalised, or `iterations` is below 1.

    Source: Miyato et al. 2018, algorithm 1.
    """
    require(isinstance(iterations, int) and iterations >= 1, "iterations", iterations, "a whole number of at least 1")
    generator = generator or torch.Generator().manual_seed(0)
    layers = [layer for layer in module.modules() if isinstance(layer, LAYERS + TRANSPOSED)]
    require(bool(layers), "module", type(module).__name__, "a module with a linear or convolutional layer")
    for layer in layers:
        require(not parametrize.is_parametrized(layer, "weight"), "module", layer, "layers with a plain weight")
        axis = 1 if isinstance(layer, TRANSPOSED) else 0
        parametrize.register_parametrization(
            layer, "weight", _SpectralNormalisation(layer.weight, axis, iterations, generator)
        )
    return module


class _SpectralNormalisation(nn.Module):
    """W ↦ W/σ(W), with the leading singular vectors (rows,) and (columns,) in buffers.

    Buffers are reassigned, never modified in place, so that `functional_call` returns them and other copies stay
    unchanged.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, axis: int, iterations: int, generator: torch.Generator) -> None:
        super().__init__()
        self.axis, self.iterations = axis, iterations
        matrix = self._matrix(weight).detach()
        start = torch.randn(matrix.shape[1], generator=generator, dtype=matrix.dtype, device=generator.device)
        left, right = _iterate(matrix, normalize(start.to(matrix.device), dim=0), WARM_UP)
        self.register_buffer("left", left)
        self.register_buffer("right", right)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Return the weight as a matrix with one row per output channel."""
        return weight.movedim(self.axis, 0).flatten(1)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight divided by its estimated largest singular value."""
        matrix = self._matrix(weight)
        if self.training:
            self.left, self.right = _iterate(matrix.detach(), self.right, self.iterations)
        return weight / torch.dot(self.left, torch.mv(matrix, self.right))


def _iterate(matrix: Tensor, right: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Return the leading singular vectors after some power iterations from `right`."""
    left = normalize(torch.mv(matrix, right), dim=0)
    right = normalize(torch.mv(matrix.t(), left), dim=0)
    return (left, right) if iterations == 1 else _iterate(matrix, right, iterations - 1)
