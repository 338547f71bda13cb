"""How a step is carried out: eagerly, mapped over seeds, or compiled; the caller cannot tell but for the time.

Compiling traces the step below autograd (`make_fx`), so second-order methods compile too; repeated computations of
the two players are merged, several steps become one graph, and no guard is left to be checked at run time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch._inductor.config
from torch import Tensor
from torch._functorch.compile_utils import fx_graph_cse
from torch.fx.experimental.proxy_tensor import make_fx

from detente.game import Batch, Game
from detente.method import Method
from detente.schemes.base import Noise
from detente.state import Info, State, Tree, flatten, unflatten

Compile = Literal["auto", "on", "off"]
Take = Callable[[Tree, list[Tree]], tuple[Tree, Tree]]


@dataclass(frozen=True)
class Draw:
    """The random input of one step: as many batches as the scheme uses, and the optimizers' noise."""

    batches: tuple[Batch, ...]
    noise: Noise

    def tree(self) -> Tree:
        """Return the draw as nested dictionaries."""
        return {"batches": {str(i): batch for i, batch in enumerate(self.batches)}, "noise": self.noise}


def draw(game: Game, method: Method, state: State, generator: torch.Generator) -> Draw:
    """Return the random input of one step, on the device of the state."""
    device = state.t.device
    batches = tuple(
        {name: tensor.to(device) for name, tensor in game.draw(generator).items()} for _ in range(method.draws(game))
    )
    return Draw(batches, {name: noise.to(device) for name, noise in method.noise(state, generator).items()})


def _take(game: Game, method: Method, state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
    """Return the tree of the state after all draws, and the trees of what each step told, stacked over steps."""
    told: list[dict[str, Tensor]] = []
    for drawn in draws:
        batches = tuple(drawn["batches"][key] for key in sorted(drawn["batches"], key=int))
        after, info = method.step(game, State(**state), batches, drawn["noise"])
        state = after.tree()
        told.append(flatten(info.tree()))
    like = info.tree()
    return state, unflatten({key: torch.stack([one[key] for one in told]) for key in told[0]}, like)


def _stack(trees: Sequence[Tree]) -> Tree:
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.stack([flat[key] for flat in flats]) for key in flats[0]}, trees[0])


def _unstack(tree: Tree, count: int) -> list[Tree]:
    flat = {key: tensor.unbind(0) for key, tensor in flatten(tree).items()}
    return [unflatten({key: pieces[i] for key, pieces in flat.items()}, tree) for i in range(count)]


class Steps:
    """Several steps of several seeds of one game under one method.

    Args:
        game: the game.
        method: the method.
        chunk: how many steps a compiled graph holds, ≥ 1; compiling takes about as many times longer.
        compiled: compile chunks of exactly `chunk` steps; what remains of a call's steps runs eagerly.
        mapped: run all seeds as one step where the game allows it.

    What cannot be compiled or mapped after all (a module that branches on its data) runs eagerly; `refused` says why.
    """

    def __init__(
        self, game: Game, method: Method, chunk: int = 1, compiled: bool = False, mapped: bool = False
    ) -> None:
        self.game, self.method, self.chunk = game, method, chunk
        self.compiled, self.mapped = compiled and game.traceable, mapped and game.traceable
        self.refused = "" if game.traceable else "a layer draws random numbers or writes in place"
        self._graphs: dict[tuple, _Graph] = {}

    @torch.no_grad()
    def __call__(self, states: Sequence[State], draws: Sequence[Sequence[Draw]]) -> tuple[list[State], list[Info]]:
        """Return each seed's state after its draws, and its infos stacked over the steps.

        Args:
            states: one a seed.
            draws: for each seed, one draw a step; as many for every seed.
        """
        try:
            return self._carry_out(states, draws)
        except Exception as error:
            if not (self.compiled or self.mapped):
                raise
            self.compiled = self.mapped = False
            self.refused = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        return self._carry_out(states, draws)  # an error of the game itself comes again, as it is

    def _carry_out(self, states: Sequence[State], draws: Sequence[Sequence[Draw]]) -> tuple[list[State], list[Info]]:
        trees = [state.tree() for state in states]
        inputs = [[one.tree() for one in drawn] for drawn in draws]
        if self.mapped and len(states) > 1:
            stacked = [_stack([drawn[step] for drawn in inputs]) for step in range(len(inputs[0]))]
            after, told = self._run(_stack(trees), stacked, mapped=True)
            results = list(zip(_unstack(after, len(states)), _unstack(told, len(states)), strict=True))
        else:
            results = [self._run(tree, drawn, mapped=False) for tree, drawn in zip(trees, inputs, strict=True)]
        cost = self.method.gradient_evaluations(self.game)
        return [State(**after) for after, _ in results], [
            Info(**told, gradient_evaluations=cost) for _, told in results
        ]

    def _run(self, state: Tree, draws: list[Tree], mapped: bool) -> tuple[Tree, Tree]:
        def take(state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
            return _take(self.game, self.method, state, draws)

        function = torch.vmap(take) if mapped else take
        if not self.compiled:
            return function(state, draws)
        told = []
        for start in range(0, len(draws), self.chunk):
            part = draws[start : start + self.chunk]
            state, info = (self._graph if len(part) == self.chunk else _called)(function, state, part)
            told.append(info)
        return state, told[0] if len(told) == 1 else _joined(told, dim=int(mapped))

    def _graph(self, function: Take, state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
        """Take steps by the graph for inputs of these shapes, which is made when it is first needed."""
        inputs = {"state": state, "draws": {str(i): drawn for i, drawn in enumerate(draws)}}
        leaves = _leaves(inputs)
        # Shapes, and the names in a batch, are all that may change from call to call.
        names = tuple(name for batch in draws[0]["batches"].values() for name in batch)
        key = (names, *[tensor.shape for tensor in leaves])
        if key not in self._graphs:
            self._graphs[key] = _Graph(function, inputs)
        return self._graphs[key](leaves)


def _called(function: Take, state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
    return function(state, draws)


def _joined(trees: list[Tree], dim: int) -> Tree:
    flats = [flatten(tree) for tree in trees]
    return unflatten({key: torch.cat([flat[key] for flat in flats], dim) for key in flats[0]}, trees[0])


def _leaves(tree: Tree) -> list[Tensor]:
    """Return the leaves of nested dictionaries, in the order of `flatten`; quick, since every step needs it."""
    leaves: list[Tensor] = []
    for value in tree.values():
        if isinstance(value, Tensor):
            leaves.append(value)
        else:
            leaves += _leaves(value)
    return leaves


def _nest(leaves: Iterator[Tensor], like: Tree) -> Tree:
    """Return `leaves` nested as `like` is."""
    return {key: next(leaves) if isinstance(value, Tensor) else _nest(leaves, value) for key, value in like.items()}


def _keep_compiled_code() -> None:
    """Let compiled code be kept beside our other files, unless the user says where: the next run starts at once."""
    with contextlib.suppress(OSError, RuntimeError):  # no home directory, or one that cannot be written
        folder = Path(os.environ.get("DETENTE_CACHE") or Path.home() / ".cache" / "detente").expanduser() / "inductor"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


class _Graph:
    """One compiled function from the leaves of its inputs to a state and what was told."""

    def __init__(self, function: Take, inputs: Tree) -> None:
        self.like: tuple[Tree, Tree] | None = None

        def traced(*leaves: Tensor) -> list[Tensor]:
            tree = _nest(iter(leaves), inputs)
            self.like = after, told = function(tree["state"], list(tree["draws"].values()))
            return _leaves(after) + _leaves(told)

        example = _leaves(inputs)
        graph = make_fx(traced)(*example)
        merged = torch.fx.GraphModule(graph, fx_graph_cse(graph.graph))
        merged.graph.eliminate_dead_code()
        merged.recompile()
        for node in merged.graph.nodes:
            node.meta.clear()  # tensors of several fake modes, which the C++ wrapper would trip over
        _keep_compiled_code()
        from torch import _inductor  # takes seconds to import, so only where it is used

        # On a processor the calls between kernels are C++ too, in one file with them: fewer to compile, quicker to run.
        options = {"cpp_wrapper": True, "cpp.vec_isa_ok": True} if example[0].device.type == "cpu" else {}
        with torch._inductor.config.patch(options):
            self.compiled: Any = _inductor.compile(merged, [*example])

    def __call__(self, leaves: list[Tensor]) -> tuple[Tree, Tree]:
        assert self.like is not None
        outputs = iter(self.compiled(*leaves))
        return _nest(outputs, self.like[0]), _nest(outputs, self.like[1])
