"""Recurrent layers computed step by step, where torch's own cannot be mapped or differentiated twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, Sequence[Tensor], bool], State]


def _sums(x: Tensor, h: Tensor, weights: Sequence[Tensor], biased: bool) -> tuple[Tensor, Tensor]:
    """Return W x + b for the input and for the hidden state."""
    biases = weights[2:4] if biased else (None, None)
    return functional.linear(x, weights[0], biases[0]), functional.linear(h, weights[1], biases[1])


def _tanh_step(x: Tensor, state: State, weights: Sequence[Tensor], biased: bool) -> State:
    of_input, of_hidden = _sums(x, state[0], weights, biased)
    return ((of_input + of_hidden).tanh(),)


def _relu_step(x: Tensor, state: State, weights: Sequence[Tensor], biased: bool) -> State:
    of_input, of_hidden = _sums(x, state[0], weights, biased)
    return ((of_input + of_hidden).relu(),)


def _gru_step(x: Tensor, state: State, weights: Sequence[Tensor], biased: bool) -> State:
    of_input, of_hidden = (sums.chunk(3, -1) for sums in _sums(x, state[0], weights, biased))
    reset, update = ((of_input[i] + of_hidden[i]).sigmoid() for i in (0, 1))
    new = (of_input[2] + reset * of_hidden[2]).tanh()
    return (new + update * (state[0] - new),)


def _lstm_step(x: Tensor, state: State, weights: Sequence[Tensor], biased: bool) -> State:
    of_input, of_hidden = _sums(x, state[0], weights, biased)
    enter, forget, new, leave = (of_input + of_hidden).chunk(4, -1)
    cell = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
    hidden = leave.sigmoid() * cell.tanh()
    projections = weights[4 if biased else 2 :]
    return (functional.linear(hidden, projections[0]) if projections else hidden), cell


def _layers(
    step: Step,
    x: Tensor,
    states: State,
    weights: Sequence[Tensor],
    biased: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """Return the outputs of the last layer, and the final states of each layer and direction."""
    directions = 2 if bidirectional else 1
    count = len(weights) // (num_layers * directions)
    x, last = x.transpose(0, 1) if batch_first else x, []
    for layer in range(num_layers):
        outputs: list[Tensor] = []
        for direction in range(directions):
            index = layer * directions + direction
            layer_weights, state = (
                weights[index * count : (index + 1) * count],
                tuple(tensor[index] for tensor in states),
            )
            hidden: list[Tensor] = []
            for element in x.flip(0) if direction else x:
                state = step(element, state, layer_weights, biased)
                hidden.append(state[0])
            outputs.append(torch.stack(hidden[::-1] if direction else hidden))
            last.append(state)
        x = torch.cat(outputs, -1)
        if train and dropout and layer < num_layers - 1:
            x = functional.dropout(x, dropout)
    return x.transpose(0, 1) if batch_first else x, *(torch.stack(each) for each in zip(*last, strict=True))


def _replacement(function: Callable[..., Any], step: Step) -> Callable[..., Any]:
    """Return a function that computes step by step under vmap or on a GPU, and otherwise calls torch's function."""

    def computed(x: Tensor, states: Tensor | Sequence[Tensor], weights: Any, *settings: Any) -> Any:
        mapped = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
        packed = isinstance(weights, Tensor) or isinstance(settings[0], list | tuple)  # sequences of different lengths
        if packed or not (mapped or x.is_cuda):
            return function(x, states, weights, *settings)
        each = (states,) if isinstance(states, Tensor) else tuple(states)
        return _layers(step, x, each, weights, *settings)  # pyright: ignore

    return computed


RECURRENT: Mapping[Callable[..., Any], Callable[..., Any]] = {
    function: _replacement(function, step)
    for function, step in (
        (torch.lstm, _lstm_step),
        (torch.gru, _gru_step),
        (torch.rnn_tanh, _tanh_step),
        (torch.rnn_relu, _relu_step),
    )
}
