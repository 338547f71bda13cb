"""Activations, dropout and last layers of a module replaced, in place."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from detente.errors import require

SLOPE = 0.2  # of LeakyReLU, as in DCGAN
STRAIGHT = 0.9  # slope from which LeakyReLU is almost linear
MOST_DROPOUT, USUAL_DROPOUT = 0.5, 0.25
FEWEST = 3  # hidden sigmoids from which the gradient, at most ¼ of it in each, hardly passes
RESHAPING = (nn.Flatten, nn.Unflatten, nn.Identity)
FIXING = (  # last layers after which every sample has the same sum, or the same mean and deviation
    nn.Softmax,
    nn.Softmax2d,
    nn.LogSoftmax,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
)
RECTIFYING = (nn.ReLU, nn.ReLU6)
BOUNDING = (*RECTIFYING, nn.Tanh, nn.Softplus, nn.LogSigmoid, nn.Hardtanh, nn.Softsign)  # sigmoids give probabilities
SATURATING = (nn.Sigmoid, nn.Hardsigmoid)
WEIGHTS = (nn.Linear, _ConvNd)
CALCULATING = (*WEIGHTS, *RESHAPING, nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def last_layer(module: nn.Module) -> tuple[str, nn.Module] | None:
    """Return the name of the last layer that does not only reshape, and the layer; None if the module has no layers."""
    layers = [(name, layer) for name, layer in _layers(module) if name]
    return next(((name, layer) for name, layer in reversed(layers) if not isinstance(layer, RESHAPING)), None)


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the names and layers that have no parts of their own; a parametrization, as spectral norm, is no layer."""
    for name, layer in module.named_modules():
        parts = {part for part, _ in layer.named_children()} - {"parametrizations"}
        if "parametrizations" not in name.split(".") and not parts:
            yield name, layer


def last_activation(module: nn.Module) -> nn.Module | None:
    """Return the last layer of a module, of several, if it has no weights and does not only reshape."""
    last = last_layer(module)
    return last[1] if last is not None and not [*last[1].parameters()] else None


def ends_in(module: nn.Module, kinds: tuple[type, ...]) -> bool:
    """Whether the last layer of a module, of several, is of one of some kinds."""
    last = last_layer(module)
    return last is not None and isinstance(last[1], kinds)


def without_last_activation(module: nn.Module) -> nn.Module:
    """Remove, in place, a last layer that fixes or cuts the outputs: softmax, a normalisation, or ReLU.

    Raises:
        InvalidValue: the module does not end in such a layer.
    """
    fits = ends_in(module, (*FIXING, *RECTIFYING))
    require(fits, "linear_output", type(module).__name__, "a module that ends in softmax, a normalisation or ReLU")
    return _without_last(module)


def bounded_scores(module: nn.Module) -> bool:
    """Whether a discriminator ends in a layer that bounds its scores, or makes a single score constant."""
    last = last_layer(module)
    single_output = (
        last is not None and isinstance(last[1], FIXING) and [*map(len, last[1].parameters())] in ([1, 1], [1])
    )
    return last is not None and last[0] != "" and (isinstance(last[1], BOUNDING) or single_output)


def without_bound(module: nn.Module) -> nn.Module:
    """Remove, in place, a discriminator's last layer if it bounds the scores or makes them constant.

    Raises:
        InvalidValue: the module does not end in such a layer.
    """
    allowed = "a module that ends in softplus, tanh, ReLU, or a normalisation of one number"
    require(bounded_scores(module), "linear_scores", type(module).__name__, allowed)
    return _without_last(module)


def _without_last(module: nn.Module) -> nn.Module:
    name, _ = last_layer(module) or ("", module)
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())
    return module


def has_idle_activations(module: nn.Module) -> bool:
    """Whether a module has a layer that `with_working_activations` replaces."""
    return any(True for _ in _idle_activations(module))


def with_working_activations(module: nn.Module) -> nn.Module:
    """Replace, in place, activations that are almost linear, or several hidden sigmoids, by LeakyReLU of slope 0.2.

    If the whole module has no activation between its layers, one is added after each hidden layer.

    Weights of hidden layers are multiplied so that they have the size of He et al. 2015 for this slope; with
    PyTorch's initial values, the signal in a deep network would shrink to a third in each layer.

    Raises:
        InvalidValue: the module has no such activations.
    """
    idle = [*_idle_activations(module)]
    require(len(idle) > 0, "activations", type(module).__name__, "a module with sigmoids, or without activations")
    for parent, name in idle:
        layer = parent._modules[name]
        active = nn.LeakyReLU(SLOPE)
        setattr(parent, name, nn.Sequential(layer, active) if isinstance(layer, WEIGHTS) else active)
    weights = [layer.weight for layer in module.modules() if isinstance(layer, WEIGHTS)]
    with torch.no_grad():
        for weight in weights[:-1]:
            size = float(weight.square().mean() * weight[0].numel()) ** 0.5
            if size > 0:
                weight.mul_((2 / (1 + SLOPE**2)) ** 0.5 / size)
    return module


def _idle_activations(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    last = last_layer(module)
    children = [(parent, name, child) for parent in module.modules() for name, child in parent._modules.items()]
    hidden = [each for each in children if isinstance(each[2], SATURATING) and (not last or each[2] is not last[1])]
    for parent, name, child in children:
        straight = isinstance(child, nn.LeakyReLU) and child.negative_slope >= STRAIGHT
        if straight or (len(hidden) >= FEWEST and any(child is each for _, _, each in hidden)):
            yield parent, name
    yield from _bare_layers(module)


def _bare_layers(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield the hidden layers of weights of a sequence that has no activation but perhaps a last one."""
    layers = [layer for _, layer in _layers(module)]
    sequences = all(isinstance(part, nn.Sequential) for part in module.modules() if [*part.children()])
    last = last_activation(module)
    if not sequences or not all(isinstance(layer, CALCULATING) or layer is last for layer in layers):
        return
    weights = [layer for layer in layers if isinstance(layer, WEIGHTS)]
    for parent in module.modules():
        yield from ((parent, name) for name, child in parent._modules.items() if child in weights[:-1])


def largest_dropout(module: nn.Module) -> float:
    """Return the largest share of units that a layer of a module drops; 0 without dropout."""
    return max((float(x.p) for x in module.modules() if isinstance(x, nn.modules.dropout._DropoutNd)), default=0.0)


def with_less_dropout(module: nn.Module) -> nn.Module:
    """Reduce dropout probabilities above 0.5 to 0.25, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > MOST_DROPOUT:
            layer.p = USUAL_DROPOUT
    return module
