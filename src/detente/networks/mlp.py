"""Fully connected networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from detente.errors import require, unknown
from detente.networks.base import draw_weights, require_counts

ACTIVATIONS = ("relu", "leaky_relu", "tanh")
INITIALISATIONS = ("pytorch", "xavier_uniform", "orthogonal")


class MLP(nn.Module):
    """Fully connected network with a linear output.

    h₀ = x,  hₖ = activation(Wₖ hₖ₋₁ + bₖ) for k = 1…depth,  output = W h_depth + b.

    Args:
        inputs: size of one sample, at least 1.
        outputs: size of one output, at least 1; the single score of a critic has shape (batch, 1).
        width: units in each hidden layer, at least 1.
        depth: number of hidden layers, at least 0; 0 is a linear map.
        activation: "relu", "leaky_relu" or "tanh".
        negative_slope: slope of "leaky_relu" below zero, at least 0.
        initialisation: "pytorch" (weights and biases uniform within ±1/√inputs of the layer), "xavier_uniform" or
            "orthogonal" (both with zero biases).
        gain: factor of the "xavier_uniform" and "orthogonal" weights, above 0.

    Raises:
        InvalidValue: an argument is out of range, or "pytorch" is combined with a gain, which it does not have.

    Source: Glorot and Bengio 2010, equation 16 (xavier_uniform); Saxe et al. 2014 (orthogonal).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        depth: int,
        activation: str = "relu",
        negative_slope: float = 0.01,
        initialisation: str = "pytorch",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        require_counts(inputs=inputs, outputs=outputs, width=width)
        require(isinstance(depth, int) and depth >= 0, "depth", depth, "a whole number of at least 0")
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        if initialisation not in INITIALISATIONS:
            raise unknown("initialisation", initialisation, INITIALISATIONS)
        require(negative_slope >= 0, "negative_slope", negative_slope, "a number of at least 0")
        require(math.isfinite(gain) and gain > 0, "gain", gain, "a finite number above 0")
        free = initialisation != "pytorch" or gain == 1
        require(free, "gain", gain, "1 for the initialisation 'pytorch'", "Choose 'xavier_uniform' or 'orthogonal'")
        self.initialisation, self.gain = initialisation, gain

        def nonlinearity() -> nn.Module:
            return {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(negative_slope), "tanh": nn.Tanh()}[activation]

        sizes = [inputs, *[width] * depth]
        hidden = [(nn.Linear(a, b), nonlinearity()) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        self.layers = nn.Sequential(*[layer for pair in hidden for layer in pair], nn.Linear(sizes[-1], outputs))
        if initialisation != "pytorch":
            self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all weights and biases again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, self.initialisation, generator, lambda layer: self.gain)

    def forward(self, samples: Tensor) -> Tensor:
        """Return the outputs, (batch, outputs), for samples (batch, …) of size `inputs`."""
        return self.layers(samples.flatten(1))
