"""The interface of every member of every folder: members are found in the folders and built from their signatures."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from detente import methods
from detente.checks.switch import off
from detente.data.arrays import Arrays
from detente.data.base import Data
from detente.data.gaussian_mixture import Ring
from detente.data.preparation.preparation import prepare
from detente.errors import InvalidValue
from detente.fields.base import Field
from detente.fields.consensus import Consensus
from detente.fields.covariance import Covariance
from detente.fields.gradient import Gradient
from detente.filters.base import Filter
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.game import Game
from detente.games import presets
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.sgd import SGD
from detente.penalties.base import Penalty
from detente.penalties.r1 import R1
from detente.registry import FOLDERS, members
from detente.schedules import Cosine, Exponential, Linear
from detente.schemes.alternating import Alternating
from detente.schemes.base import Scheme
from detente.schemes.simultaneous import Simultaneous
from detente.state import Info, State
from detente.training.step import Draw, Steps, draw
from tests.gradient_count import counted_gradients
from tests.refusals import Refusals, expected, refusals

# ---- Building members from their signatures ------------------------------------------------------------------------

PARTS: dict[object, Callable[[], object]] = {
    Data: Ring,
    Optimizer: lambda: SGD(0.01),
    Scheme: Simultaneous,
    Field: Gradient,
    Penalty: R1,
    Filter: GaussianSmoothing,
    int: lambda: 2,
    float: lambda: 0.5,
    str: lambda: "distance_to_solution",
}


def points() -> Tensor:
    return torch.randn(16, 2, generator=torch.Generator().manual_seed(0))


def labelled() -> Tensor:
    return torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{index}.png")
    assert list(prepare("mnist-8", path, folder=path.parent / "sets"))
    return path


def special_arguments(name: str, folder: Path) -> dict[str, Any]:
    """Return the arguments that cannot be chosen by their types."""
    return {
        "adversarial": {"generator": MLP(3, 2, 4, 1), "discriminator": MLP(2, 1, 4, 1), "data": points(), "latent": 3}
        | {"batch": 4},
        "conditional": {"data": Arrays(labelled(), torch.arange(16) % 2), "latent": 3, "batch": 4}
        | {"generator": ConditionalGenerator(3, 2, 1, 4, 2, 2, 2)}
        | {"discriminator": ConditionalDiscriminator(2, 1, 4, 2, 2, 2)},
        "networks": {"players": {"one": MLP(2, 2, 4, 1)}, "data": points(), "batch": 4}
        | {"losses": lambda net, batch: {"one": net.one(batch["real"]).pow(2).mean()}},
        "labelled_generator": {"network": MLP(5, 2, 4, 1), "classes": 2},
        "labelled_discriminator": {"network": MLP(4, 1, 4, 1), "classes": 2},
        "packed": {"network": MLP(4, 1, 4, 1)},
        "arrays": {"samples": points()},
        "image_folder": {"path": folder},
        "prepared": {"name": "mnist-8", "folder": folder.parent / "sets"},
        "piecewise": {"values": (0.1, 0.2), "boundaries": (3,)},
        "piecewise_linear": {"values": (0.1, 0.2), "steps": (0, 3)},
    }.get(name, {})


def field_types(member: Callable[..., object]) -> dict[str, Any]:
    owner = member if dataclasses.is_dataclass(member) else getattr(member, "__init__", member)
    return typing.get_type_hints(owner)


def alternatives(hint: object) -> tuple[object, ...]:
    """Return the alternatives of a union, or the type itself."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def required_arguments(member: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return values for the required parameters that `arguments` lacks, chosen by type."""
    types_, missing = field_types(member), {}
    for name, parameter in inspect.signature(member).parameters.items():
        if parameter.default is parameter.empty and name not in arguments and parameter.kind != parameter.VAR_KEYWORD:
            part = next((PARTS[hint] for hint in alternatives(types_[name]) if hint in PARTS), None)
            assert part is not None, f"no recipe for {member.__name__}.{name}: {types_[name]}"
            missing[name] = part()
    return missing


def build_member(name: str, member: type, folder: Path, **changed: object) -> Any:
    arguments = special_arguments(name, folder)
    with off():  # tiny networks ignore labels
        return member(**{**required_arguments(member, arguments), **arguments, **changed})


MEMBERS = [(kind, name) for kind in FOLDERS for name in members(kind)]


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=lambda value: value)
def test_members_are_built_from_their_signatures(kind: str, name: str, folder: Path) -> None:
    member = members(kind)[name]
    built = build_member(name, member, folder)
    assert isinstance(built, member)
    settings = ("objectives", "penalties", "filters", "fields", "schemes", "optimizers", "schedules")
    if dataclasses.is_dataclass(member) and kind in settings:
        assert built == build_member(name, member, folder), "equal settings, equal members"
        for field in dataclasses.fields(member):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(built, field.name, None)


def bad_values() -> list[tuple[str, str, str, object]]:
    """Return kind, member, field and a value that no such field can take."""
    cases = []
    for kind, name in MEMBERS:
        for field, hint in field_types(members(kind)[name]).items():
            choices = alternatives(hint)
            if float in choices:
                cases.append((kind, name, field, float("nan")))
            elif int in choices:
                cases.append((kind, name, field, -1))
            elif any(typing.get_origin(choice) is typing.Literal for choice in choices):
                cases.append((kind, name, field, "no_such_name"))
    return [*cases, ("optimizers", "adam", "betas", (0.5, 1.0)), ("schemes", "alternating", "turns", {"x": 0})]


@pytest.mark.parametrize(("kind", "name", "field", "value"), bad_values(), ids=lambda value: str(value))
def test_members_refuse_bad_values_by_name(kind: str, name: str, field: str, value: object, folder: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        build_member(name, members(kind)[name], folder, **{field: value})
    assert caught.value.field.partition(".")[0] == field
    assert caught.value.allowed


@pytest.mark.parametrize("build", [lambda: Linear(1, 0, 0), lambda: Cosine(1, 0, 0), lambda: Exponential(1, 0.5, 0)])
def test_schedules_refuse_lengths_of_zero(build: Callable[[], object]) -> None:
    with pytest.raises(InvalidValue, match="steps: got 0"):
        build()


@pytest.mark.parametrize("name", sorted(members("data")))
def test_data_depend_on_the_generator_alone(name: str, folder: Path) -> None:
    data = build_member(name, members("data")[name], folder)
    before = torch.get_rng_state()
    first, again = (data.draw(5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first["real"].shape == (5, *data.shape) and first["real"].dtype == torch.float32
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


SMALLER: dict[str, dict[str, Any]] = {"text": {"width": 32}}  # of 512 channels it takes ten seconds
SMALLER["changed"] = {"game": presets.ring(), "rescale": True}


@pytest.mark.parametrize("name", sorted(presets.names()))
def test_standard_games_train(name: str) -> None:
    game = presets.names()[name](batch=4, **SMALLER.get(name, {}))
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    losses, _ = game.losses(vectors, buffers, game.draw(generator))
    assert set(losses) == set(game.players)
    assert all(bool(loss.isfinite()) and loss.shape == () for loss in losses.values())
    if game.zero_sum:
        torch.testing.assert_close(sum(losses.values()), torch.zeros(()), atol=1e-6, rtol=0)


# ---- Every method on small games -----------------------------------------------------------------------------------


def small_gan(**settings: Any) -> Adversarial:
    """Return a GAN with BatchNorm in float64: in float32, Adam turns rounding into steps where a slope is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
        discriminator = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Linear(4, 1)).double()
    with off():  # penalties on a discriminator with BatchNorm are computed rightly, but are not advisable
        return Adversarial(generator, discriminator, points(), 3, batch=4, **settings)


def finite_gan() -> Adversarial:
    """Return a zero-sum GAN without BatchNorm whose losses are finite sums, as some methods require."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator, discriminator = MLP(3, 2, 4, 1, "tanh").double(), MLP(2, 1, 4, 1, "tanh").double()
    return Adversarial(generator, discriminator, points(), 3, "minimax", batch=4, fixed_latents=True)


GAMES: dict[str, Callable[[], Game]] = {
    "bilinear": lambda: Bilinear(2),
    "dirac": DiracGAN,
    "gan": small_gan,
    "finite": finite_gan,
}

# Whose cost is not the number of gradients that are counted here.
DIFFERENTIATED_TOGETHER = {f"method {name}" for name in ("sgan", "simplified_sgan", "weight_shared_sgan")} | {
    "scheme sgan",
    "scheme sgan, consensus",
}
STOP_EARLY = {  # conjugate gradients, for which the cost is a bound; the fields' own tests count without stopping
    triple
    for name in ("competitive", "adaptive_competitive", "follow_the_ridge")
    for triple in (f"method {name}", f"field {name}", f"field {name}, alternating")
}
REJECTING = {  # a rejected step leaves the players where they are
    "method accept_reject",
    "method random_proposal",
    "scheme accept_reject",
    "scheme accept_reject, consensus",
}


def make_triples() -> dict[str, Method]:
    """Return every published method, and a triple for every field, scheme and optimizer."""
    triples = {f"method {name}": make() for name, make in methods.names().items()}
    for name, member in members("fields").items():
        field = member(**required_arguments(member, {}))
        triples[f"field {name}"] = Method(field, Simultaneous(), SGD(0.05))
        triples[f"field {name}, alternating"] = Method(field, Alternating(), SGD(0.05))
    for name, member in members("schemes").items():
        adam = Adam(0.01, epsilon=1e-6)  # less would turn the rounding of sums into steps where a slope is zero
        triples[f"scheme {name}"] = Method(Gradient(), member(**required_arguments(member, {})), adam)
        triples[f"scheme {name}, consensus"] = Method(
            Consensus(0.5), member(**required_arguments(member, {})), SGD(0.05)
        )
    for name, member in members("optimizers").items():
        optimizer = member(**required_arguments(member, {}))
        field = Covariance(("generator", "discriminator")) if optimizer.needs_covariance else Gradient()
        triples[f"optimizer {name}"] = Method(field, Simultaneous(), optimizer)
    return triples


TRIPLES = make_triples()
PAIRS = [(game, method) for game in GAMES for method in TRIPLES]


@cache
def find_refusals() -> Refusals:
    """Return the errors of the pairs that do not fit."""
    return refusals(PAIRS, GAMES, TRIPLES)


FITTING = [pair for pair in PAIRS if pair not in find_refusals()]


def every_pair(pairs: Iterable[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("game", "method"), list(pairs), indirect=["game"])


every_play = every_pair(FITTING)


@pytest.fixture(scope="module")
def game(request: pytest.FixtureRequest) -> Game:
    return GAMES[request.param]()


def start(game: Game, method: str, seed: int = 0) -> tuple[Method, State, torch.Generator]:
    """Return a method, its state before the first step, and the generator of its batches."""
    generator = torch.Generator().manual_seed(seed)
    play = TRIPLES[method]
    return play, play.prepare(game, play.initial(game, generator), generator), generator


def test_methods_refuse_exactly_the_expected_games() -> None:
    """The expected refusals are in refusals.yaml, which `python -m tests.refusals` writes."""
    assert find_refusals() == expected(__name__)


def test_every_method_fits_a_game() -> None:
    assert {method for _, method in FITTING} == set(TRIPLES)


def take_step(game: Game, play: Method, state: State, drawn: Draw) -> tuple[State, Info]:
    return play.step(game, state, drawn.batches, drawn.noise)


def assert_same(first: object, second: object, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


@every_play
def test_a_step_is_pure_and_keeps_structure_and_supports_donation(game: Game, method: str) -> None:
    """Structure, shapes and dtypes are kept, inputs unmodified, the same input gives the same output bit for bit.

    So do a state that went through a flat dictionary, and one that the step may overwrite.
    """
    play, state, generator = start(game, method)
    donate = State.from_flat({name: tensor.clone() for name, tensor in state.flat().items()}, state)
    for step in range(4):
        random = generator.get_state()
        state, donate = play.prepare(game, state, generator), play.prepare(game, donate, generator.set_state(random))
        drawn = draw(game, play, state, generator)
        before = [{name: tensor.clone() for name, tensor in state.flat().items()}, tree_map(torch.clone, drawn.tree())]
        after, info = take_step(game, play, state, drawn)
        back = State.from_flat(dict(reversed(state.flat().items())), state)
        assert_same(back.tree(), state.tree())
        assert_same(take_step(game, play, back, drawn)[0].flat(), after.flat())
        assert_same([state.flat(), drawn.tree()], before)
        donate, _ = play.step(game, donate, drawn.batches, drawn.noise, donate=True)
        assert_same(donate.flat(), after.flat())
        trees = [sorted((name, v.shape, v.dtype) for name, v in tree.flat().items()) for tree in (state, after)]
        assert trees[0] == trees[1]
        assert int(after.t) == int(state.t) + 1 == step + 1
        assert not any(tensor.requires_grad for tensor in after.flat().values())
        moved = any(not torch.equal(after.vectors[name], state.vectors[name]) for name in game.players)
        assert moved or method in REJECTING
        assert set(info.losses) == set(info.gradient_norm) == set(game.players)
        assert bool(info.finite)
        state = after


@every_pair((game, method) for game, method in FITTING if method not in DIFFERENTIATED_TOGETHER | STOP_EARLY)
def test_declared_cost_equals_the_counted_gradients(game: Game, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play, state, generator = start(game, method)
    drawn = draw(game, play, state, generator)
    counted = counted_gradients(monkeypatch)
    _, info = take_step(game, play, state, drawn)
    assert info.gradient_evaluations - play.field.preparation(game) == sum(counted)


@every_pair((game, method) for game, method in FITTING if game == "gan" and method not in REJECTING)
def test_every_draw_is_used(game: Game, method: str) -> None:
    play, state, generator = start(game, method)
    state, _ = take_step(game, play, state, draw(game, play, state, generator))  # some ignore their memory at first
    drawn, other = draw(game, play, state, generator), draw(game, play, state, generator)
    after, _ = take_step(game, play, state, drawn)
    for index in range(len(drawn.batches)):
        batches = tuple(other.batches[i] if i == index else batch for i, batch in enumerate(drawn.batches))
        changed, _ = take_step(game, play, state, Draw(batches, drawn.noise))
        assert any(not torch.equal(changed.vectors[name], after.vectors[name]) for name in game.players), index
    for name in {name for turn in drawn.noise for name in turn}:
        noise = tuple(
            turn | {name: new[name]} if name in turn else turn
            for turn, new in zip(drawn.noise, other.noise, strict=True)
        )
        changed, _ = take_step(game, play, state, Draw(drawn.batches, noise))
        assert not torch.equal(changed.vectors[name], after.vectors[name]), name


def run_steps(game: Game, play: Method, seeds: int, steps: int, **how: bool) -> tuple[list[dict], list[dict]]:
    """Return the states and infos of some seeds after some steps."""
    states, draws = [], []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        state = play.initial(game, generator)
        state.vectors.update({name: v + 0.1 * seed for name, v in state.vectors.items()})
        states.append(state)
        draws.append([draw(game, play, state, generator) for _ in range(steps)])
    after, infos = Steps(game, play, chunk=steps, **how)(states, draws)
    return [state.flat() for state in after], [info.tree() for info in infos]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Use traced graphs as compiled ones, since C++ takes seconds per graph. Return the numbers of graph nodes."""
    sizes: list[int] = []

    def compile_(graph: torch.fx.GraphModule, example: list[Tensor]) -> torch.fx.GraphModule:
        sizes.append(len(graph.graph.nodes))
        return graph

    monkeypatch.setattr("detente.training.inductor.compile_graph", compile_)
    return sizes


@every_play
def test_steps_mapped_over_seeds_equal_the_loop(game: Game, method: str) -> None:
    play, _, _ = start(game, method)
    assert_same(run_steps(game, play, 3, 2, mapped=True), run_steps(game, play, 3, 2), 1e-9)


# Tracing takes four milliseconds a node: every triple on the smallest game that has it, a few on the GAN.
@every_pair(
    (game, method)
    for game, method in FITTING
    if game == "dirac"
    or (game == "gan" and method in ("method alternating", "method extragradient", "method consensus"))
)
def test_traced_steps_equal_eager_ones(game: Game, method: str, traced: list[int]) -> None:
    play, _, _ = start(game, method)
    assert_same(run_steps(game, play, 2, 1, compiled=True), run_steps(game, play, 2, 1), 1e-9)
    assert len(traced) == int(play.traceable(game)), "one graph for both seeds"


def test_traced_steps_over_seeds_and_chunks_equal_eager_ones(traced: list[int]) -> None:
    play = methods.extragradient()
    assert_same(run_steps(DiracGAN(), play, 3, 4, compiled=True, mapped=True), run_steps(DiracGAN(), play, 3, 4), 1e-9)
    assert len(traced) == 1


PARTS_OF_A_GAN = [("objective", name) for name in members("objectives")] + [
    ("penalties", name) for name in members("penalties")
]


@pytest.mark.parametrize(("part", "name"), PARTS_OF_A_GAN, ids=lambda value: value)
def test_objectives_and_penalties_mapped_and_traced(part: str, name: str, traced: list[int]) -> None:
    """Eager, mapped and traced values agree, also in second derivatives; zero-sum losses sum to zero."""
    kind = members("objectives" if part == "objective" else part)[name]
    member = kind(**required_arguments(kind, {}))
    play = methods.consensus(0.1)
    game = small_gan(**{part: member})
    eager = run_steps(game, play, 2, 1)
    assert_same(run_steps(game, play, 2, 1, mapped=True), eager, 1e-9)
    losses = eager[1][0]["losses"]
    if game.zero_sum:
        assert_same(losses["generator"], -losses["discriminator"], 1e-12)

    small = DiracGAN(objective=member) if part == "objective" else DiracGAN(penalty=member, start=(1.0, 0.8))
    eager = run_steps(small, play, 2, 1)
    assert_same(run_steps(small, play, 2, 1, mapped=True), eager, 1e-9)
    assert_same(run_steps(small, play, 2, 1, compiled=True), eager, 1e-9)
    assert len(traced) == 1


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # inductor's own
def test_compiled_steps_equal_eager_ones() -> None:
    play = methods.consensus(0.5, optimizer=Adam(0.01))
    game = Bilinear(2)
    assert_same(run_steps(game, play, 2, 3, compiled=True, mapped=True), run_steps(game, play, 2, 3), 1e-9)
