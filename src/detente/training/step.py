"""Execute steps eagerly, mapped over seeds, or compiled; results are equal up to rounding."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from detente.autodiff.tracing import recording
from detente.data.base import reading
from detente.deprecated import lookup
from detente.game import Batch, Game
from detente.methods.method import Method
from detente.ranks import Ranks, ranks
from detente.schemes.base import NoisePerBatch, StepContext
from detente.state import Info, State, Tree, flatten, unflatten
from detente.training.distributed import everywhere
from detente.training.graph import Graph, StepFunction, leaves_of

Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Draw:
    """The random input of one step: the batches of the scheme, and the noise of the optimizers."""

    batches: tuple[Batch, ...]
    noise: NoisePerBatch

    def tree(self) -> Tree:
        """Return the draw as nested dictionaries."""
        return {name: {str(i): part for i, part in enumerate(getattr(self, name))} for name in ("batches", "noise")}


def state_to_device(state: State, device: str | torch.device | None) -> State:
    """Return the state on a device; None keeps the current device."""
    if device is None:
        return state
    return State.from_flat({name: tensor.to(device) for name, tensor in state.flat().items()}, state)


def draw(game: Game, method: Method, state: State, generator: torch.Generator, ranks: Ranks | None = None) -> Draw:
    """Return the random input of one step, on the device of the state.

    Every rank draws the whole batch, so that a seed gives the same batches for any number of ranks, and uses its rows.
    """
    device = state.t.device
    if ranks is None or ranks.count == 1:
        batches = [game.draw(generator) for _ in range(method.draws(game))]
    else:
        drawn = []
        for rows in rows_to_read(game, method, ranks):
            with reading(game.batch, rows):
                drawn.append(game.draw(generator))
        batches = method.batches_of_rank(game, tuple(drawn), ranks)
    batches = tuple([batch_to_device(batch, device) for batch in batches])
    return Draw(batches, draw_noise(game, method, state, generator))


def rows_to_read(game: Game, method: Method, ranks: Ranks | None) -> list[Tensor | None]:
    """Return which rows of each batch of a step one rank evaluates; None: all.

    Raises:
        InvalidValue: the batch cannot be divided equally among the ranks.
    """
    count, size = method.draws(game), game.batch
    if ranks is None or ranks.count == 1:
        return [None] * count
    numbered = tuple({"row": torch.arange(index * size, (index + 1) * size)} for index in range(count))
    numbers = torch.cat([batch["row"] for batch in method.batches_of_rank(game, numbered, ranks)])
    return [numbers[(numbers // size) == index] % size for index in range(count)]


def draw_noise(game: Game, method: Method, state: State, generator: torch.Generator) -> NoisePerBatch:
    """Return the random numbers of one step in addition to its batches, on the device of the state."""
    noise, device = method.noise(game, state, generator), state.t.device
    return tuple([batch_to_device(numbers, device) for numbers in noise]) if any(noise) else noise


def batch_to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on a device; copies to a GPU use pinned memory and are asynchronous."""
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {
        name: (tensor.pin_memory() if tensor.device.type == "cpu" else tensor).to(device, non_blocking=True)
        for name, tensor in batch.items()
    }


def _traced_steps(game: Game, method: Method, state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
    """Return the tree of the state after all steps, and the infos of the steps, stacked over steps."""
    infos: list[Info] = []
    for draw_tree in draws:
        batches, noise = (
            tuple(draw_tree[name][str(i)] for i in range(len(draw_tree[name]))) for name in ("batches", "noise")
        )
        after, info = method.step(game, State(**state), batches, noise)
        state = after.tree()
        infos.append(info)
    return state, _stack([info.tree() for info in infos])


def _stack(trees: Sequence[Tree]) -> Tree:
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.stack([flat[key] for flat in flats]) for key in flats[0]}, trees[0])


def _each(function: Callable[[Tensor], Tensor], info: Info, cost: float) -> Info:
    return Info(
        {name: function(loss) for name, loss in info.losses.items()},
        {name: function(norm) for name, norm in info.gradient_norm.items()},
        cost,
        {name: function(number) for name, number in info.extra.items()},
        {player: {name: function(term) for name, term in named.items()} for player, named in info.terms.items()},
    )


def _row(number: Tensor) -> Tensor:
    return number.clone().unsqueeze_(0)


def _stacked(infos: Sequence[Info], cost: float) -> Info:
    return Info(**_stack([info.tree() for info in infos]), gradient_evaluations=cost)


def _unstack(tree: Tree, count: int) -> list[Tree]:
    flat = {key: tensor.unbind(0) for key, tensor in flatten(tree).items()}
    return [unflatten({key: pieces[i] for key, pieces in flat.items()}, tree) for i in range(count)]


class Steps:
    """Runs several steps of several seeds of one game with one method.

    Args:
        game: the game.
        method: the method.
        chunk: number of steps in a compiled graph, ≥ 1; compile time is roughly proportional to it.
        compiled: compile chunks of exactly `chunk` steps; the remaining steps of a call run eagerly.
        mapped: run one step for all seeds at once, if the game supports it.

    Steps that cannot be compiled or mapped (e.g. a module branches on its data) run eagerly, and `fallback_reason`
    gives the reason.
    """

    def __init__(
        self, game: Game, method: Method, chunk: int = 1, compiled: bool = False, mapped: bool = False
    ) -> None:
        self.game, self.method, self.chunk = game, method, chunk
        traceable = method.traceable(game)
        self.compiled, self.mapped = compiled and traceable, mapped and traceable
        optimizers = method.optimizers(game.players).values()
        if not game.traceable:
            reason = "a layer draws random numbers or writes in place"
        elif not all(optimizer.traceable for optimizer in optimizers):
            reason = "an optimizer of torch.optim runs eagerly"
        else:
            reason = "the method branches on values or reads the whole data set"
        self.fallback_reason = "" if traceable else reason
        self._graphs: dict[tuple, Graph] = {}
        self._contexts: tuple[StepContext, StepContext] | None = None
        self._ranks: Ranks | None = None

    @property
    def refused(self) -> str:
        """Old name of `fallback_reason`."""
        warnings.warn(
            "Steps.refused is now Steps.fallback_reason; the next release removes the old name", DeprecationWarning, 2
        )
        return self.fallback_reason

    def _context(self, donate: bool) -> StepContext:
        """Return what all steps have in common, which depends on the ranks."""
        if self._contexts is None or self._ranks is not ranks():
            self._contexts = self.method.context(self.game), self.method.context(self.game, donate=True)
            self._ranks = ranks()
        return self._contexts[donate]

    @cached_property
    def _cost(self) -> float:
        """Gradients of one player's loss on one batch in a step."""
        return self.method.gradient_evaluations(self.game)

    @property
    def kernel_launches(self) -> str:
        """How a GPU launches the kernels of compiled steps; empty on a CPU and before the first compiled step."""
        for graph in self._graphs.values() if self.compiled else ():
            if graph.cuda_graph_error:
                return f"kernels launched one by one: no CUDA graph: {graph.cuda_graph_error}"
        return "as a CUDA graph" if self.compiled and any(g.recorded for g in self._graphs.values()) else ""

    @torch.no_grad()
    def __call__(
        self, states: Sequence[State], draws: Sequence[Sequence[Draw]], donate: bool = False
    ) -> tuple[list[State], list[Info]]:
        """Return the state of each seed after its steps, and its infos stacked over the steps.

        Args:
            states: one state per seed.
            draws: one draw per step for each seed; the same number for every seed.
            donate: whether eager steps may overwrite the states, because the caller does not use them again.
        """
        if self.compiled or self.mapped:
            try:
                return self._compiled_or_mapped(states, draws)
            except Exception as error:
                self.compiled = self.mapped = False
                self.fallback_reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            donate = False  # an error of the game itself is raised again by the eager steps
        scheme, states_after, infos_after = self.method.scheme, [], []
        for state, draws_of_seed in zip(states, draws, strict=True):
            infos: list[Info] = []
            for step, step_draw in enumerate(draws_of_seed):
                context = self._context(donate or step > 0)
                state, info = scheme(context, state, step_draw.batches, step_draw.noise)
                infos.append(info)
            states_after.append(state)
            infos_after.append(_each(_row, infos[0], self._cost) if len(infos) == 1 else _stacked(infos, self._cost))
        return states_after, infos_after

    def single(self, state: State, step_draw: Draw, donate: bool = False) -> tuple[State, Info]:
        """Return the state of one seed after one step, and its info; arguments as of a call."""
        if self.compiled or self.mapped:
            (state,), (info,) = self([state], [[step_draw]], donate)
            return state, _each(lambda stacked: stacked[0], info, self._cost)
        with recording(False):
            state, info = self.method.scheme(self._context(donate), state, step_draw.batches, step_draw.noise)
            return state, _each(
                torch.clone, info, self._cost
            )  # a loss may be a view of a vector, which the next step overwrites

    def _compiled_or_mapped(
        self, states: Sequence[State], draws: Sequence[Sequence[Draw]]
    ) -> tuple[list[State], list[Info]]:
        trees = [state.tree() for state in states]
        inputs = [[step_draw.tree() for step_draw in draws_of_seed] for draws_of_seed in draws]
        if self.mapped and len(states) > 1:
            stacked = [_stack([draws_of_seed[step] for draws_of_seed in inputs]) for step in range(len(inputs[0]))]
            after, infos = self._run(_stack(trees), stacked, mapped=True)
            results = list(zip(_unstack(after, len(states)), _unstack(infos, len(states)), strict=True))
        else:
            results = [self._run(tree, draws_of_seed, False) for tree, draws_of_seed in zip(trees, inputs, strict=True)]
        return [State(**after) for after, _ in results], [
            Info(**infos, gradient_evaluations=self._cost) for _, infos in results
        ]

    def _run(self, state: Tree, draws: list[Tree], mapped: bool) -> tuple[Tree, Tree]:
        def run_steps(state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
            return _traced_steps(self.game, self.method, state, draws)

        function = torch.vmap(run_steps) if mapped else run_steps
        if not self.compiled:
            return function(state, draws)
        infos = []
        for start in range(0, len(draws), self.chunk):
            chunk = draws[start : start + self.chunk]
            state, info = (
                self._run_graph(function, state, chunk) if len(chunk) == self.chunk else function(state, chunk)
            )
            infos.append(info)
        return state, infos[0] if len(infos) == 1 else _concatenate(infos, dim=int(mapped))

    def _run_graph(self, function: StepFunction, state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
        """Run steps with the graph for inputs of these shapes, which is compiled at first use."""
        inputs = {"state": state, "draws": {str(i): draw_tree for i, draw_tree in enumerate(draws)}}
        leaves = leaves_of(inputs)
        # Only shapes, and the names in a batch, may change between calls.
        names = tuple(name for batch in draws[0]["batches"].values() for name in batch)
        key = (names, *[tensor.shape for tensor in leaves])
        if key not in self._graphs:
            self._graphs[key] = everywhere(lambda: Graph(function, inputs), ranks())
        return self._graphs[key](leaves)


def _concatenate(trees: list[Tree], dim: int) -> Tree:
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.cat([flat[key] for flat in flats], dim) for key in flats[0]}, trees[0])


__getattr__ = lookup(__name__)
