"""The game of any networks: any number of players, any losses, any batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from detente.arguments import fitting
from detente.autodiff.engines import as_leaf
from detente.autodiff.exact_derivatives import refusing, require_right_gradients
from detente.autodiff.tracing import is_eager
from detente.data.base import Data
from detente.data.batch_form import Form
from detente.data.batches import Batches, as_batches
from detente.errors import InvalidValue, failure, require
from detente.game import Batch, Buffers, EvaluationSettings, Game, Vectors
from detente.games.terms import Losses, require_gradients, takes_step, terms_of, with_sums
from detente.modules.calling import (
    Build,
    build,
    copied,
    copy_buffers,
    evaluating,
    has_lazy_layers,
    is_traceable,
    trainable,
    write,
)
from detente.modules.checks import examine, require_separate
from detente.modules.functional_call import EMPTY
from detente.modules.layout import Layout
from detente.modules.net import Call, DirectNet, Net, Vector
from detente.modules.players import builders_of, frozen_copy, members_of, require_names
from detente.modules.randomness import NUMPY, PYTHON, Source, generators_in, random_state, same_state, seeded, state_of
from detente.state import State

Player = Build | Tensor | Sequence[Any] | Mapping[str, Any]
_FIRST, _LATER = torch.zeros((), dtype=torch.int64), torch.tensor(10**6)  # steps at which losses are tried


@dataclass(frozen=True)
class Trial:
    """What an evaluation of the losses gave.

    Args:
        terms: the terms of each player's loss.
        losses: losses and terms by name.
        leaves: the players' vectors on autograd's graph.
        memory: the game's own memory afterwards.
        calls: the first call of each module or part.
        drew: whether random numbers were drawn.
    """

    terms: dict[str, dict[str, Any]]
    losses: dict[str, Tensor]
    leaves: Vectors
    memory: dict[str, Tensor]
    calls: dict[tuple[str, str], Call]
    drew: bool


class Networks(Game):
    """A game of any networks, in which each player minimises its own loss.

    ```python
    def losses(net, batch, t):
        x = batch["image"]
        reconstruction = net.autoencoder(x)
        fake, real = net.judge(reconstruction), net.judge(x)
        return {
            "autoencoder": {"l1": l1_loss(reconstruction, x), "adversarial": -fake.mean()},
            "judge": {"hinge": relu(1 - real).mean() + relu(1 + fake).mean()},
        }

    game = Networks({"autoencoder": Autoencoder, "judge": Judge}, losses, data=loader)
    ```

    `net.<player>(…)` calls a player's module with its current parameters; it takes any inputs and returns what the
    module returns. Methods and submodules are called in the same way (`net.autoencoder.encode(x)`, `net.judges[0](x)`).
    `net.judge.slope(x)` is ‖∇ₓ D(x)‖ for each sample, for penalties. Never detach one player's output for another: each
    loss is differentiated with respect to its own player only, and second-order methods need the whole graph.

    A loss, or a term of it, may be a function without arguments. It is called only if its player moves, so that
    its cost does not arise when other players move:
    `"perceptual": lambda: net.lpips(reconstruction, x)`.

    Args:
        players: the players by name. A player is a module, or a class or function that returns one; a list or
            dictionary of these; or a tensor, such as Lagrange multipliers, for which `net.<player>` is the tensor.
        losses: function of (net, batch, t), or (net, batch), that returns each player's loss: a scalar tensor or
            number, or a dictionary of named terms, which are added and appear in `Info.terms`. `t` is the step,
            int64 ().
        data: batches: anything that `Adversarial` accepts, with "real" (and "label"), a `DataLoader` or another
            iterable, a `Dataset`, a tuple or dictionary of tensors, or a function of a `torch.Generator`.
        batch: samples in a batch, ≥ 1, where `data` does not fix it.
        frozen: modules or functions that the losses call as `net.<name>` and that are not trained; modules are copied
            and put into evaluation mode.
        sides: groups of players by name, for methods of two players: a side moves as one player. Its loss is the one
            under its own name, or the sum of its members' losses.
        memory: initial tensors of the game's own memory by name. `losses` reads and replaces `net.memory["name"]`.
        project: for players with constraints, a function from a player's tensor to the nearest feasible one.
        show: function of (net, batch) that returns samples: images (n, channels, height, width) in [−1, 1], sound
            (n, channels, time), or points (n, d); or a dictionary of these. Modules are in evaluation mode.
        zero_sum: whether the losses of two players sum to zero.
        finite_sum: whether each loss is a mean over the samples of a batch that draws no random numbers, so that over a
            stored set it is a finite sum, which variance-reduced and full-batch methods need.

    Raises:
        InvalidValue: `losses` names other players, returns something other than scalars, or a scalar without a
            gradient; a module cannot be trained as a pure function; or an argument is invalid.
    """

    arguments: Mapping[str, Any]  # of the constructor, for `changed`
    scheduled = True
    batches: Batches | None = None  # subclasses may draw batches in another way
    frozen: Mapping[str, Any] = EMPTY
    members: Mapping[str, tuple[str, str]] = EMPTY
    memory: Mapping[str, Tensor] = EMPTY
    finite_sum: bool = False
    _project: Mapping[str, Callable[[Tensor], Tensor]] = EMPTY
    _show: Callable[[Net, Any], Any] | None = None

    def __init__(
        self,
        players: Mapping[str, Player],
        losses: Losses,
        data: Data | object,
        batch: int = 64,
        frozen: Mapping[str, Any] | None = None,
        sides: Mapping[str, Sequence[str]] | None = None,
        memory: Mapping[str, Tensor] | None = None,
        project: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
        show: Callable[[Net, Any], Any] | None = None,
        zero_sum: bool = False,
        finite_sum: bool = False,
    ) -> None:
        self.arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        batch = fitting("batch", int, batch)
        require(batch >= 1, "batch", batch, "an integer ≥ 1")
        fitting("frozen", Mapping[str, Any] | None, frozen)
        fitting("sides", Mapping[str, Sequence[str]] | None, sides)
        fitting("memory", Mapping[str, Tensor] | None, memory)
        fitting("project", Mapping[str, Callable] | None, project)
        fitting("show", Callable | None, show)
        fitting("zero_sum", bool, zero_sum)
        fitting("finite_sum", bool, finite_sum)
        require(
            isinstance(players, Mapping) and len(players) > 0, "players", players, "a dictionary of modules by name"
        )
        require(callable(losses), "losses", losses, "a function of (net, batch, t)")
        frozen, sides, project = dict(frozen or {}), dict(sides or {}), dict(project or {})
        require_names([*players, *frozen, *sides])
        self.batch, self.zero_sum, self.memory = batch, zero_sum, dict(memory or {})
        self.frozen = {name: frozen_copy(name, helper) for name, helper in frozen.items()}
        self.members = members_of(players, sides)
        self._losses, self._show, self.scheduled = losses, show, takes_step(losses)
        for name, function in project.items():
            require(name in players and callable(function), "project", name, f"functions for {', '.join(players)}")
        self._project = project
        self._set_players(builders_of(players, sides))
        self.batches = as_batches(data, batch)
        self.data = getattr(self.batches, "data", self.batches)
        self.restores_order = self.batches.restores
        self.form = Form.of(self._example())
        self._check_players(self.example())
        self.finite_sum = finite_sum
        if finite_sum:
            self.batches.take(torch.arange(1))  # raises an error for a stream
            reason = "draws random numbers" if self.stochastic else "has memory"
            require(not (self.stochastic or memory), "finite_sum", True, f"False, since the game {reason}")

    def changed(self, **arguments: Any) -> Self:
        """Return a new game with some arguments of the constructor replaced; this one is not changed."""
        game = copy.copy(self)
        for name in [name for name in vars(game) if isinstance(getattr(type(game), name, None), cached_property)]:
            del vars(game)[name]
        constructor = next(
            base for base in type(self).__mro__ if base.__module__.startswith(__name__.rpartition(".")[0])
        )
        constructor.__init__(game, **{**self.arguments, **arguments})  # subclasses may have constructors of their own
        return game

    def __copy__(self) -> Self:
        game = object.__new__(type(self))  # each step of turns on one batch copies the game
        vars(game).update(vars(self))
        return game

    @property
    def shows(self) -> bool:
        """Whether the game has a function `show`."""
        return self._show is not None

    def example(self) -> Batch:
        """Return a batch of the data, always the same one."""
        return self.complete(self._example(), torch.Generator().manual_seed(0))

    def _example(self) -> Any:
        """Return a batch of the data, always the same one."""
        assert self.batches is not None
        return _without_error(self.batches.example, self.batch)

    def _set_players(self, builders: dict[str, Build]) -> None:
        """Build each player's module and its layout."""
        self.builders, self._names = builders, tuple(builders)
        self.moving: dict[str, tuple[str, ...]] = {}  # frozen parameters that a call changes
        self.sources: list[Source] = []  # sources of the modules' random numbers, except torch's global generator
        self.stochastic = False  # provisional: the check calls the modules
        self.modules = {name: build(name, builder, torch.Generator()) for name, builder in builders.items()}

    def _set_layouts(self) -> None:
        require_separate(self.builders, self.modules)
        self.layouts = {name: Layout.of(trainable(module), name) for name, module in self.modules.items()}

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the players, or of the sides."""
        return self._names

    @property
    def randomness(self) -> str:
        """Description of what draws random numbers in addition to the batch; empty if nothing does."""
        return "a layer or a loss that draws random numbers" if self.stochastic else ""

    @torch.no_grad()
    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return parameters and buffers: newly initialised for a factory, otherwise the module's own.

        Raises:
            InvalidValue: a factory returns a module with other parameters than before.
        """
        vectors, buffers = {}, {}
        for name, module in self._built(generator).items():
            shapes = {key: tuple(tensor.shape) for key, tensor in trainable(module).items()}
            layout = self.layouts[name]
            same = shapes == dict(zip(layout.names, layout.shapes, strict=True))
            require(same, name, "parameters of other names or shapes at a second call", "the same parameters each time")
            vectors[name] = layout.flatten(trainable(module))
            buffers[name] = copy_buffers(module, self.moving.get(name, ()))
        if self.memory:
            device = next(iter(vectors.values())).device
            buffers["memory"] = {name: tensor.to(device).clone() for name, tensor in self.memory.items()}
        return vectors, buffers

    def _built(self, generator: torch.Generator) -> dict[str, nn.Module]:
        """Return a new module of each player, its lazy layers initialised."""
        modules = {name: build(name, builder, generator) for name, builder in self.builders.items()}
        for step in (_FIRST, _LATER):  # some players may play later
            if not any(map(has_lazy_layers, modules.values())):
                break
            batch = {**self.complete(self._example(), generator), "t": step}
            seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
            with ExitStack() as stack, seeded(seed, torch.device("cpu")):
                for module in modules.values():
                    stack.enter_context(evaluating(module))
                net = cast(Net, DirectNet(modules, self.members, self.frozen, self.memory))
                self._terms(net, batch, self.players)
        for name, module in modules.items():
            allowed = "lazy layers that the losses call"
            require(not has_lazy_layers(module), name, "lazy layers without a shape", allowed)
        return modules

    @property
    def size(self) -> int | None:
        """Number of samples if the losses are finite sums, otherwise None."""
        return self.batches.size if self.finite_sum and self.batches is not None else None

    def parts(self, count: int | None = None) -> Iterator[Batch]:
        """Yield the whole set once, in batches of `count` samples (default: `batch`)."""
        size = self.size
        if size is None:
            yield from super().parts(count)
            return
        assert self.batches is not None
        for indices in torch.arange(size).split(count or self.batch):
            yield self.complete(self.batches.take(indices), torch.Generator())

    def draw(self, generator: torch.Generator) -> Batch:
        """Return the next batch, as named tensors."""
        assert self.batches is not None
        return self.complete(_without_error(self.batches.draw, self.batch, generator), generator)

    def complete(self, batch: Any, generator: torch.Generator) -> Batch:
        """Return a user's batch in the form of the data's batches, as named tensors.

        Args:
            batch: tensors, arrays and numbers, nested as in the batches of the data. Additional entries and text are
                ignored.
            generator: draws the seed of the modules' random numbers, if they draw any.

        Raises:
            InvalidValue: the batch has another form.
        """
        tensors = self.form.flatten(batch)
        if self.stochastic:
            tensors["seed"] = torch.randint(2**62, (), generator=generator, device=generator.device)
        return tensors

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return the loss, (), of each of `players` (default: all), its terms as "player.term", and the new buffers."""
        requested = players or self.players
        if self.stochastic:
            with self._randomness(batch), self._net(vectors, buffers) as net:
                terms = self._terms(net, batch, requested)
        else:
            with self._net(vectors, buffers) as net:
                terms = self._terms(net, batch, requested)
        after = net.buffers
        if self.memory:
            after["memory"] = {name: net.memory[name] for name in self.memory}
        return with_sums(terms, vectors), after

    def _net(self, vectors: Vectors, buffers: Buffers, **options: Any) -> Net:
        """Return the players at a point."""
        frozen = self._frozen_on(next(iter(vectors.values())).device) if self.frozen else {}
        parts = (self.modules, self.layouts, vectors, buffers, self._module_settings, frozen, self.members)
        return Net(*parts, draws=self.stochastic, **options)

    def _frozen_on(self, device: torch.device) -> dict[str, Any]:
        """Return the frozen modules on a device; they are moved once."""
        key = ("frozen modules on", device)
        if key not in self.evaluation_memo:
            self.evaluation_memo[key] = {
                name: copied(helper).to(device) if isinstance(helper, nn.Module) else helper
                for name, helper in self.frozen.items()
            }
        return self.evaluation_memo[key]

    def _terms(self, net: Net, batch: Batch, players: tuple[str, ...]) -> dict[str, Any]:
        """Return the named terms of each of `players` at the point of `net`; a loss without terms is named ""."""
        step, nested = batch.get("t", _FIRST), self.form.unflatten(batch)
        try:
            with refusing(self):
                returned = self._losses(net, nested, step) if self.scheduled else self._losses(net, nested)
                return terms_of(returned, self.players, self.members, players)
        except (InvalidValue, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not is_eager(step):  # mapped and traced steps fall back to eager ones, which raise it again
                raise
            lookup = isinstance(error, KeyError | IndexError | TypeError | AttributeError)
            hint = f"The batch is {self.form}" if lookup else ""
            raise failure("losses", error, "losses without an error", hint) from error

    def project(self, vectors: Vectors) -> Vectors:
        """Return the nearest feasible point, by the functions in `project`."""
        if not self._project:
            return vectors
        projected = dict(vectors)
        for name, player, key, function in self._projections:
            layout = self.layouts[player]
            pieces = layout.unflatten(projected[player])
            value, shape = function(pieces[key]), pieces[key].shape
            if not isinstance(value, Tensor) or value.shape != shape:
                allowed = f"a function that returns a tensor of shape {tuple(shape)}"
                raise InvalidValue(f"project.{name}", value, allowed)
            projected[player] = layout.flatten({**pieces, key: value})
        return projected

    @cached_property
    def _projections(self) -> list[tuple[str, str, str, Callable[[Tensor], Tensor]]]:
        """Name, player, name of the piece, and function of each projection."""
        projections = []
        for name, function in self._project.items():
            player, part = self.members.get(name, (name, ""))
            key = f"{part}.value" if part else "value"
            require(key in self.layouts[player].names, "project", name, "players that are tensors")
            projections.append((name, player, key, function))
        return projections

    def position(self, generator: torch.Generator) -> bytes:
        """Return the position of the data's batches for a generator, in addition to its state."""
        return b"" if self.batches is None else self.batches.position(generator)

    def restore(self, generator: torch.Generator, position: bytes) -> None:
        """Continue the data's batches for a generator at a position, if they can be."""
        if self.batches is not None:
            self.batches.restore(generator, position)

    @torch.no_grad()
    def show(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """Return the samples of the function `show` for a batch by name, with modules in evaluation mode.

        Raises:
            InvalidValue: the game has no function `show`.
        """
        require(self._show is not None, "show", None, "a function of (net, batch) in Networks(…, show=…)")
        assert self._show is not None
        with self._evaluation(state) as net:
            try:
                shown = self._show(net, self.form.unflatten(batch))
            except (InvalidValue, torch.OutOfMemoryError):
                raise
            except Exception as error:
                raise failure("show", error, "a function of (net, batch) without an error") from error
        shown = dict(shown) if isinstance(shown, Mapping) else {"samples": shown}
        for name, samples in shown.items():
            described = f"{name}: {tuple(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__}"
            require(isinstance(samples, Tensor) and samples.ndim > 0, "show", described, "tensors of samples, (n, …)")
        return shown

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` of the samples that the function `show` makes of drawn batches; the first kind, if several."""
        parts, total = [], 0
        assert self.batches is not None
        while total < count:
            batch = self.complete(_without_error(self.batches.peek, self.batch, generator), generator)
            batch = {name: tensor.to(state.t.device) for name, tensor in batch.items()}
            samples = next(iter(self.show(state, batch).values()))
            require(len(samples) > 0, "show", "no samples", "at least one sample for each batch")
            parts.append(samples)
            total += len(samples)
        return torch.cat(parts)[:count]

    @contextmanager
    def _evaluation(self, state: State) -> Iterator[Net]:
        """Yield the players at a state, in evaluation mode, always with the same random numbers."""
        with ExitStack() as stack:
            device = state.t.device
            stack.enter_context(seeded(0, device, self.sources) if self.stochastic else nullcontext())
            for module in self.modules.values():
                stack.enter_context(evaluating(module))
            yield self._net(state.vectors, state.buffers)

    def trained(self, state: State) -> dict[str, Any]:
        """Return copies of the players' modules with the parameters and buffers of a state, in evaluation mode.

        Members of a side are entries of their own. A player that is a tensor is a tensor.
        """
        trained: dict[str, Any] = {}
        for player in self.players:
            module = copied(self.modules[player])
            write(module, self.layouts[player], state.vectors[player], state.buffers[player], player)
            module.eval()  # after writing, because some layers merge weights in evaluation mode
            members = {name: part for name, (side, part) in self.members.items() if side == player}
            if members:
                trained |= {name: module.get_submodule(part) for name, part in members.items()}
            else:
                trained[player] = module
        return {name: module.value.data if isinstance(module, Vector) else module for name, module in trained.items()}

    @property
    def _module_settings(self) -> EvaluationSettings:
        """Settings of the modules' calls. Calls that draw random numbers are not cached."""
        settings = self.evaluation_settings
        cached = self.stochastic and settings.forward_cache is not None
        return settings.without_cache if cached else settings

    def _randomness(self, batch: Batch) -> AbstractContextManager:
        """Return a context in which the batch's seed determines the random numbers of modules and losses."""
        if not self.stochastic:
            return nullcontext()
        device = next((tensor.device for tensor in batch.values() if tensor.dim()), torch.device("cpu"))
        return seeded(int(batch["seed"]), device, self.sources)

    def _check_players(self, batch: Batch) -> None:
        """Evaluate the losses on a batch, and check them and each module by the calls that they make."""
        self.modules = self._built(torch.Generator())
        self._set_layouts()
        uncalled = {name: copied(module) for name, module in self.modules.items()}
        vectors, buffers = self.initial(torch.Generator())
        self.project(vectors)
        device = next(iter(vectors.values())).device
        batch = {**{name: tensor.to(device) for name, tensor in batch.items()}, "t": _FIRST.to(device)}
        inputs = {"the batch": batch, **{f"the buffers of {name}": named for name, named in buffers.items()}}
        versions = {name: [tensor._version for tensor in tensors.values()] for name, tensors in inputs.items()}
        trial = self._try(vectors, buffers, batch)
        drew, calls = trial.drew, trial.calls
        if {player for player, _ in calls} != set(self.players):  # some may play later, or are tensors
            calls = {**self._try(vectors, buffers, {**batch, "t": _LATER.to(device)}).calls, **calls}
        for (player, part), call in calls.items():
            if not tree_leaves((call.inputs, dict(call.keywords))):
                continue  # a module that only returns its parameters has no input to check it with
            module, layout, original = uncalled[player], self.layouts[player], self.builders[player]
            traits = examine(player, module, layout, original, *call.inputs, part=part, keywords=call.keywords)
            self.moving[player] = tuple(dict.fromkeys((*self.moving.get(player, ()), *traits.moving)))
            drew, self.sources = drew or traits.stochastic, [*self.sources, *traits.sources]
        for name, tensors in inputs.items():
            written = [tensor._version for tensor in tensors.values()] != versions[name]
            hint = "Use x.clone(), or operations that are not in place"
            require(not written, "losses", f"losses that write into {name}", "unchanged tensors", hint)
        require_gradients(trial.terms, trial.losses, trial.leaves)
        undeclared = [name for name in trial.memory if name not in self.memory]
        allowed = f"memory declared in Networks(…, memory=…): {', '.join(self.memory) or 'none'}"
        require(not undeclared, "net.memory", ", ".join(undeclared), allowed)
        for player, module in self.modules.items():
            require_right_gradients(player, module)
            self.sources += generators_in(module)
        unique = {id(source): source for source in (PYTHON, NUMPY, *self.sources)} if drew else {}
        self.stochastic, self.sources = drew, list(unique.values())
        again = self._try(*self.initial(torch.Generator()), batch).losses
        for name, value in trial.losses.items():
            same = name in again and torch.allclose(value, again[name], rtol=1e-3, equal_nan=True)
            allowed = "losses that depend only on parameters, buffers, batch and step"
            hint = "The cause may be a counter or another state in Python. Use net.memory for tensors that change"
            require(same, f"losses.{name}", "a value that depends on earlier calls", allowed, hint)
        pure = not self.stochastic and not any(self.moving.values())
        self.traceable = pure and all(is_traceable(module) for module in self.modules.values())

    def _try(self, vectors: Vectors, buffers: Buffers, batch: Batch) -> Trial:
        """Return what an evaluation of the losses gives, calls and draws."""
        calls: dict[tuple[str, str], Call] = {}
        leaves = {name: as_leaf(vector) for name, vector in vectors.items()}
        device, sources = batch["t"].device, (PYTHON, NUMPY, *self.sources)

        def record(player: str, call: Call) -> None:
            copies = tree_map_only(Tensor, torch.clone, (call.inputs, dict(call.keywords)))
            calls.setdefault((player, call.part), Call(call.part, *copies))

        with seeded(0, device, sources), torch.enable_grad():
            before = [random_state(device), *map(state_of, sources)]
            net = self._net(leaves, buffers, record=record)
            terms = self._terms(net, batch, self.players)
            after = [random_state(device), *map(state_of, sources)]
        drew = any(not same_state(x, y) for x, y in zip(before, after, strict=True))
        return Trial(terms, with_sums(terms, leaves), leaves, net.memory, calls, drew)


def _without_error(draw: Callable[..., Any], *arguments: Any) -> Any:
    """Return the batch that a source draws; an exception in the user's data becomes one line."""
    try:
        return draw(*arguments)
    except InvalidValue:
        raise
    except Exception as error:
        raise failure("data", error, "data that can be read without an error") from error
