"""SGAN: Algorithm 1 by hand, independent local pairs, and pairs mapped or trained one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.profiler import ProfilerActivity, profile

from detente import methods
from detente.errors import InvalidValue
from detente.fields.base import Field
from detente.fields.consensus import Consensus
from detente.fields.gradient import Gradient
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.sgd import SGD
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.schemes import sgan as file
from detente.schemes.alternating import Alternating
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, step_info
from detente.schemes.extragradient import Extragradient
from detente.schemes.pairs import locals_of
from detente.schemes.past_extragradient import PastExtragradient
from detente.schemes.sgan import Sgan
from detente.state import Info, State
from detente.training.step import Draw, Steps, draw
from tests.gradient_count import counted_gradients

PAIRS, RATE = 2, 0.01
EPSILON = 1e-4  # with less, Adam turns the rounding of a slope of zero (of a shift before BatchNorm) into steps
ADAM = Adam(RATE, (0.5, 0.999), EPSILON)
Ways = Literal["mapped", "one by one"]
both_ways = pytest.mark.parametrize("way", ["mapped", "one by one"], indirect=True)


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ways:
    carry_out(request.param, monkeypatch)
    return request.param


def carry_out(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MAPPED_UP_TO", 10**9 if way == "mapped" else 0)


def points() -> Tensor:
    return torch.randn(32, 2, generator=torch.Generator().manual_seed(0))


def small(norm: bool = False, width: int = 5, **settings: Any) -> Adversarial:
    """Return a GAN of factories, so that every pair has its own initial parameters, in float64."""

    def network(inputs: int, outputs: int) -> nn.Module:
        between = [nn.BatchNorm1d(width)] if norm else []
        return nn.Sequential(nn.Linear(inputs, width), *between, nn.Tanh(), nn.Linear(width, outputs)).double()

    settings = {"batch": 8, **settings}
    return Adversarial(lambda: network(3, 2), lambda: network(2, 1), points(), 3, **settings)


def method(inner: Scheme | None = None, optimizer: Optimizer | None = None, **settings: Any) -> Method:
    return Method(Gradient(), Sgan(inner or Alternating(), **{"pairs": PAIRS, **settings}), optimizer or ADAM)


def drawn(game: Adversarial, play: Method, state: State, steps: int, seed: int = 1) -> list[Draw]:
    generator = torch.Generator().manual_seed(seed)
    return [draw(game, play, state, generator) for _ in range(steps)]


def walked(game: Adversarial, play: Method, state: State, draws: list[Draw]) -> tuple[State, Info]:
    info = None
    for step in draws:
        state, info = play.step(game, state, step.batches, step.noise)
    assert info is not None
    return state, info


def beginning(game: Adversarial, play: Method, seed: int = 0) -> State:
    return play.initial(game, torch.Generator().manual_seed(seed))


def same(first: object, second: object, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


# ---- Algorithm 1 by hand -------------------------------------------------------------------------------------------


class ByHand:
    """Algorithm 1 in plain PyTorch, line by line, on modules with the parameters of a state."""

    def __init__(self, game: Adversarial, state: State, scheme: Sgan, turns: int) -> None:
        self.game, self.scheme, self.turns = game, scheme, turns
        nets = [self.modules(pair_state) for pair_state in (state, *locals_of(state))]
        (self.g0, self.d0), self.locals = nets[0], nets[1:]
        self.optimizers = [tuple(adam(net) for net in pair) for pair in nets]

    def modules(self, state: State) -> tuple[nn.Module, nn.Module]:
        pair = tuple(copy.deepcopy(self.game.modules[name]).train() for name in self.game.players)
        self.game.write(state, *pair)
        return pair[0], pair[1]

    def discriminator_loss(self, g: nn.Module, d: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        real, fake = batch["real"].double(), g(batch["latent"].double())
        if not self.game.penalties:
            return softplus(-d(real)).mean() + softplus(d(fake)).mean()
        mixing = batch["penalty0.mixing"].double()[:, None]
        between = (mixing * real + (1 - mixing) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(d(between).sum(), between, create_graph=True)
        return d(fake).mean() - d(real).mean() + 10.0 * (slope.norm(dim=1) - 1).square().mean()

    def generator_loss(self, g: nn.Module, d: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        scores = d(g(batch["latent"].double()))
        return -scores.mean() if self.game.penalties else softplus(-scores).mean()

    def step(self, batches: Iterator[dict[str, Tensor]]) -> None:
        scheme, (adam_g0, adam_d0) = self.scheme, self.optimizers[0]
        up, down = [], []
        for n in range(scheme.pairs):  # the batches come pair by pair
            (g, d), (adam_g, adam_d) = self.locals[n], self.optimizers[n + 1]
            for _ in range(self.turns):
                adam_d.zero_grad()
                self.discriminator_loss(g, d, next(batches)).backward()
                adam_d.step()
            adam_g.zero_grad()
            self.generator_loss(g, d, next(batches)).backward()
            adam_g.step()
            messenger = copy.deepcopy(d)
            adam_m = adam(messenger)
            if scheme.messenger_memory == "cloned":
                adam_m.load_state_dict(copy.deepcopy(adam_d.state_dict()))
            for _ in range(scheme.messenger_steps if scheme.messengers else 0):
                adam_m.zero_grad()
                self.discriminator_loss(self.g0, messenger, next(batches)).backward()
                adam_m.step()
            up.append((messenger, next(batches)))
            down.append((g, next(batches)))
        adam_g0.zero_grad()
        for messenger, batch in up:
            self.generator_loss(self.g0, messenger, batch).backward()
        adam_g0.step()
        adam_d0.zero_grad()
        for g, batch in down:
            self.discriminator_loss(g, self.d0, batch).backward()
        adam_d0.step()

    def vectors(self) -> list[dict[str, Tensor]]:
        pairs = [(self.g0, self.d0), *self.locals]
        return [
            {
                n: nn.utils.parameters_to_vector(m.parameters()).detach()
                for n, m in zip(self.game.players, p, strict=True)
            }
            for p in pairs
        ]


def adam(net: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), RATE, (0.5, 0.999), EPSILON)


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {  # of the scheme, of the game, discriminator's turns
    "cloned": ({}, {}, 1),
    "fresh": ({"messenger_memory": "fresh"}, {}, 1),
    "simplified": ({"messengers": False}, {}, 1),
    "several turns": ({"messenger_steps": 3, "pairs": 3}, {}, 2),
    "WGAN-GP": ({}, {"objective": "wasserstein", "penalties": GradientPenalty(10.0)}, 1),
    "BatchNorm": ({}, {"norm": True}, 1),
}


@both_ways
@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_equal_algorithm_1_written_by_hand(variant: str, way: Ways) -> None:
    settings, of_game, turns = VARIANTS[variant]
    game = small(**of_game)
    play = method(Alternating(turns={"discriminator": turns}), **settings)
    assert isinstance(play.scheme, Sgan)
    state = beginning(game, play)
    hand = ByHand(game, state, play.scheme, turns)
    same(hand.vectors(), [state.vectors, *(local.vectors for local in locals_of(state))])
    for local in drawn(game, play, state, 8):
        state, _ = play.step(game, state, local.batches, local.noise)
        batches = iter(local.batches)
        hand.step(batches)
        assert next(batches, None) is None, "every batch is used"
        same([state.vectors, *(local.vectors for local in locals_of(state))], hand.vectors(), 1e-10)


def test_fresh_and_cloned_messengers_give_different_results() -> None:
    """The oracle distinguishes the variants."""
    game, final = small(), {}
    for variant in ("cloned", "fresh"):
        play = method(**VARIANTS[variant][0])
        state = beginning(game, play)
        final[variant], _ = walked(game, play, state, drawn(game, play, state, 4))
    gap = (final["cloned"].vectors["generator"] - final["fresh"].vectors["generator"]).abs().max()
    assert gap > 1e-5
    same(final["cloned"].vectors["discriminator"], final["fresh"].vectors["discriminator"])


# ---- Nothing global reaches a local pair ---------------------------------------------------------------------------

INNERS: dict[str, Callable[[], Scheme]] = {
    "alternating": lambda: Alternating(turns={"discriminator": 2}),
    "extragradient": Extragradient,
    "past extragradient": PastExtragradient,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "BatchNorm"])
@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("way", ["one by one"], indirect=True)
def test_local_pairs_equal_separate_trainings(inner: str, norm: bool, dtype: torch.dtype, way: Ways) -> None:
    game, scheme = small(norm, width=7), INNERS[inner]()
    if dtype == torch.float32:
        game = Adversarial(
            lambda: game.modules["generator"].float(),
            lambda: game.modules["discriminator"].float(),
            points(),
            3,
            batch=8,
        )
    play, alone = method(scheme, pairs=3), Method(Gradient(), scheme, ADAM)
    generator = torch.Generator().manual_seed(0)
    state = beginning(game, play)
    game.initial(generator)  # the global pair comes first
    singles = [alone.initial(game, generator) for _ in range(3)]
    same([local.flat() for local in locals_of(state)], [local.flat() for local in singles])
    count = scheme.draws(game.players)
    for local in drawn(game, play, state, 5):
        state, _ = play.step(game, state, local.batches, local.noise)
        for n, single in enumerate(singles):
            first = n * len(local.batches) // 3
            singles[n], _ = alone.step(game, single, local.batches[first : first + count])
        same([local.flat() for local in locals_of(state)], [local.flat() for local in singles])


@both_ways
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "BatchNorm"])
def test_local_pairs_do_not_depend_on_the_global_pair(norm: bool, way: Ways) -> None:
    game, play = small(norm), method()
    state = beginning(game, play)
    other = replace(state, vectors={name: vector + 0.3 for name, vector in state.vectors.items()})
    draws = drawn(game, play, state, 4)
    for local in draws:  # the global pair's own batches differ too
        assert len(local.batches) == PAIRS * 5
    new = [
        Draw(
            tuple(
                second_batch if k % 5 > 1 else first_batch
                for k, (first_batch, second_batch) in enumerate(zip(*both, strict=True))
            ),
            noise,
        )
        for both, noise in (
            ((a.batches, b.batches), a.noise) for a, b in zip(draws, drawn(game, play, state, 4, seed=2), strict=True)
        )
    ]
    (first, _), (second, _) = walked(game, play, state, draws), walked(game, play, other, new)
    same([local.flat() for local in locals_of(first)], [local.flat() for local in locals_of(second)])
    assert not torch.equal(first.vectors["generator"], second.vectors["generator"])


def test_pairs_start_from_different_parameters() -> None:
    state = beginning(small(), method())
    starts = [pair_state.vectors["generator"] for pair_state in (state, *locals_of(state))]
    assert all(not torch.equal(starts[i], starts[j]) for i in range(3) for j in range(i))


# ---- Both ways of carrying it out ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Nudged(Scheme):
    """A scheme with its own random numbers and statistics."""

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        return field.gradient_evaluations(players, players)

    def random(self, vectors: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {"nudge": torch.randn((), generator=generator, dtype=torch.float64)}

    def __call__(
        self, play: StepContext, state: State, batches: tuple[dict[str, Tensor], ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        evaluation, state = play.evaluate(state, batches[0])
        nudge = noise[0]["nudge"]
        state = play.advance(state, {name: block + nudge for name, block in evaluation.field.items()}, noise[0])
        return state.after(), replace(step_info(evaluation), extra={"up": nudge > 0})


class Remembering(Gradient):
    """The mean of the last two gradients: a field with a memory of each pair of opponents."""

    def initial(self, game: Any, vectors: dict[str, Tensor], buffers: Any) -> dict[str, Any]:
        return {name: torch.zeros_like(vector) for name, vector in vectors.items()}

    def __call__(
        self, game: Any, vectors: Any, buffers: Any, batch: Any, memory: dict[str, Tensor], players: tuple[str, ...]
    ) -> tuple[Any, dict[str, Tensor]]:
        evaluation, _ = super().__call__(game, vectors, buffers, batch, memory, players)
        blocks = {name: (evaluation.field[name] + memory[name]) / 2 for name in players}
        return replace(evaluation, field=blocks), {**memory, **{name: evaluation.field[name] for name in players}}


WAYS: dict[str, tuple[Callable[[], Method], dict[str, Any]]] = {
    "BatchNorm": (method, {"norm": True}),
    "WGAN-GP": (method, {"objective": "wasserstein", "penalties": GradientPenalty(10.0)}),
    "extragradient": (lambda: method(Extragradient(), messenger_steps=2), {}),
    "past extragradient": (lambda: method(PastExtragradient()), {}),
    "consensus": (lambda: replace(method(optimizer=SGD(0.1)), field=Consensus(0.5)), {}),
    "own random numbers": (lambda: method(Nudged()), {}),
    "a field that remembers": (lambda: replace(method(), field=Remembering()), {"norm": True}),
    "one pair": (lambda: method(pairs=1), {}),
}


@pytest.mark.parametrize("name", WAYS)
def test_mapped_pairs_equal_pairs_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, settings = WAYS[name]
    game, play, results = small(**settings), make(), {}
    state = beginning(game, play)
    draws = drawn(game, play, state, 6)
    for way in ("mapped", "one by one"):
        carry_out(way, monkeypatch)
        after, info = walked(game, play, state, draws)
        assert sorted(after.flat()) == sorted(state.flat())
        results[way] = after.flat(), info.tree()
    same(results["mapped"], results["one by one"], 1e-9)


@both_ways
@pytest.mark.parametrize("name", WAYS)
def test_steps_mapped_over_seeds_equal_the_loop(name: str, way: Ways) -> None:
    make, settings = WAYS[name]
    game, play = small(**settings), make()
    states = [beginning(game, play, seed) for seed in range(2)]
    draws = [drawn(game, play, state, 3, seed) for seed, state in enumerate(states)]
    mapped, loop = Steps(game, play, mapped=True), Steps(game, play)
    actual, expected = ([after.flat() for after in steps(states, draws)[0]] for steps in (mapped, loop))
    same(actual, expected, 1e-9)
    assert not mapped.fallback_reason


@both_ways
def test_traced_steps_over_seeds_equal_eager_ones(way: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # inductor itself takes a minute
    game, play = DiracGAN(penalty=R1(), start=(1.0, 0.8)), method()
    states = [play.initial(game, torch.Generator().manual_seed(0)) for _ in range(2)]
    states[1].vectors.update(generator=torch.tensor([0.3]).double())
    draws = [[draw(game, play, state, torch.Generator())] for state in states]
    traced = Steps(game, play, chunk=1, compiled=True, mapped=True)
    same(
        [after.flat() for after in traced(states, draws)[0]],
        [after.flat() for after in Steps(game, play)(states, draws)[0]],
        1e-9,
    )
    assert not traced.fallback_reason


@both_ways
@pytest.mark.parametrize("inner", INNERS)
def test_donated_states_give_the_same_result(inner: str, way: Ways) -> None:
    game, play = small(norm=True), method(INNERS[inner]())
    state = beginning(game, play)
    donated = State.from_flat({key: tensor.clone() for key, tensor in state.flat().items()}, state)
    for step in drawn(game, play, state, 4):
        state, _ = play.step(game, state, step.batches, step.noise)
        donated, _ = play.step(game, donated, step.batches, step.noise, donate=True)
        same(donated.flat(), state.flat())


def test_pairs_run_one_by_one_for_modules_that_branch_on_data() -> None:
    class Branching(MLP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(-x if bool(x.mean() > 0) else x)

    game = Adversarial(lambda: MLP(3, 2, 4, 1), lambda: Branching(2, 1, 4, 1), points(), 3, batch=8)
    play = method()
    assert play.traceable(game), "torch's own layers do not tell"
    state = beginning(game, play)
    after, info = walked(game, play, state, drawn(game, play, state, 2))
    assert bool(info.finite) and not torch.equal(after.vectors["generator"], state.vectors["generator"])


def test_pairs_of_untraceable_games_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out("mapped", monkeypatch)
    monkeypatch.setattr(torch, "vmap", None)
    generator = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2))
    game = Adversarial(generator, MLP(2, 1, 4, 1), points(), 3, batch=8)
    play = method()
    state = beginning(game, play)
    assert not play.traceable(game)
    assert bool(walked(game, play, state, drawn(game, play, state, 2))[1].finite)


def test_resumed_training_equals_an_uninterrupted_one() -> None:
    game, play = small(norm=True), method()
    state = beginning(game, play)
    draws = drawn(game, play, state, 20)
    whole, _ = walked(game, play, state, draws)
    half, _ = walked(game, play, state, draws[:10])
    tensors = {key: tensor.clone() for key, tensor in half.flat().items()}
    rest, _ = walked(game, play, State.from_flat(tensors, beginning(game, play, seed=9)), draws[10:])
    same(rest.flat(), whole.flat())


# ---- What it costs and tells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["one by one"], indirect=True)
@pytest.mark.parametrize("field", [Gradient(), Consensus(0.5)], ids=["gradient", "consensus"])
@pytest.mark.parametrize("settings", [{}, {"messengers": False}, {"messenger_steps": 3, "pairs": 4}], ids=str)
def test_declared_cost_equals_the_counted_gradients(
    settings: dict, field: Field, way: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    game, play = small(), replace(method(Alternating(turns={"discriminator": 2}), **settings), field=field)
    state = beginning(game, play)
    (step,) = drawn(game, play, state, 1)
    counted = counted_gradients(monkeypatch)
    _, info = play.step(game, state, step.batches, step.noise)
    assert info.gradient_evaluations == play.gradient_evaluations(game) == sum(counted)


def test_declared_cost_equals_the_formula() -> None:
    game = small()
    for pairs, turns, steps, messengers in ((1, 1, 1, True), (5, 2, 3, True), (4, 1, 2, False)):
        inner = Alternating(turns={"discriminator": turns})
        play = method(inner, pairs=pairs, messenger_steps=steps, messengers=messengers)
        expected = pairs * (turns + 1 + (steps if messengers else 0) + 2)
        assert play.draws(game) == play.gradient_evaluations(game) == expected


@both_ways
def test_reported_losses_are_those_of_the_global_pair(way: Ways) -> None:
    """Summed losses and the norm of the summed gradient, by the game itself, and the mean of the local losses."""
    game, play = small(), method(messengers=False)
    state = beginning(game, play)
    (step,) = drawn(game, play, state, 1)
    after, info = play.step(game, state, step.batches, step.noise)
    losses = dict.fromkeys(game.players, 0.0)
    for n, local in enumerate(locals_of(after)):
        for k, name in ((2, "generator"), (3, "discriminator")):
            vectors = {**local.vectors, name: state.vectors[name]}
            values, _ = game.losses(vectors, state.buffers, step.batches[n * 4 + k], (name,))
            losses[name] += float(values[name])
    same({name: float(loss) for name, loss in info.losses.items()}, losses, 1e-12)
    alone = Method(Gradient(), Alternating(), ADAM)
    local_losses = [
        alone.step(game, at, step.batches[4 * n : 4 * n + 2])[1].losses for n, at in enumerate(locals_of(state))
    ]
    expected = {f"local_{name}": sum(step[name] for step in local_losses) / PAIRS for name in game.players}
    same(info.extra, expected, 1e-12)
    assert play.scheme.eval_state(after) is after


def test_peak_memory_of_a_step_per_pair() -> None:
    """Per further pair: one pair of vectors in the state, one in a step that copies, none in a step with `donate`."""
    width, peaks = 300, {}
    pair = sum(len(vector) for vector in beginning(small(width=width), method()).vectors.values()) * 8

    for donate in (False, True):
        for pairs in (4, 8):
            game, play = small(width=width, batch=2), method(pairs=pairs, optimizer=SGD(0.01))
            state = beginning(game, play)
            vectors = [t for key, t in state.flat().items() if "vectors" in key]
            assert sum(t.numel() * 8 for t in vectors) == (pairs + 1) * pair
            assert sum(t.numel() * 8 for t in state.flat().values()) < (pairs + 1) * pair + 100
            (step,) = drawn(game, play, state, 1)
            file_limit, file.MAPPED_UP_TO = file.MAPPED_UP_TO, 0
            try:
                with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
                    play.step(game, state, step.batches, step.noise, donate)
            finally:
                file.MAPPED_UP_TO = file_limit
            peaks[donate, pairs] = peak(profiler) / pair
    assert peaks[False, 8] - peaks[False, 4] < 4.2, peaks
    assert peaks[True, 8] - peaks[True, 4] < 0.2, peaks


def peak(profiler: profile) -> float:
    """Return the highest sum of allocations, in bytes."""
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    level = highest = 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            level += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            highest = max(highest, level)
    return highest


# ---- What does not fit ---------------------------------------------------------------------------------------------


class Prepared(Gradient):
    prepares = True


class Coloured(Gradient):
    @property
    def covariance_of(self) -> tuple[str, ...]:
        return ("discriminator",)


@pytest.mark.parametrize("field", [Prepared(), Coloured()], ids=["prepares", "covariance"])
def test_fields_that_use_the_whole_set_are_refused(field: Field) -> None:
    with pytest.raises(InvalidValue, match="^field: got "):
        replace(method(), field=field).check(small())


def test_other_games_are_refused() -> None:
    with pytest.raises(InvalidValue, match="^game: got "):
        method().check(Bilinear(2))


def test_states_of_other_trainings_have_no_local_pairs() -> None:
    with pytest.raises(InvalidValue, match="^state: got "):
        locals_of(beginning(small(), Method(Gradient(), Alternating(), SGD(0.1))))


def test_the_methods_of_the_paper_are_registered() -> None:
    play = methods.sgan(10, discriminator_turns=5)
    assert play.scheme == Sgan(Alternating(turns={"discriminator": 5}), 10, True, 10, "cloned")
    assert play.optimizer == Adam(2e-4, (0.5, 0.999))
    assert methods.sgan().scheme == Sgan(Alternating(), messenger_steps=10)  # one step does not train the global pair
    assert methods.sgan(messenger_steps=4).scheme == Sgan(Alternating(), messenger_steps=4)
    assert methods.simplified_sgan().scheme == Sgan(Alternating(), 5, messengers=False)


# ---- Shared parameters (SW) ----------------------------------------------------------------------------------------


def split(state: State, share: float = 0.5) -> dict[str, tuple[Tensor, Tensor]]:
    """Return by player the shared parameters and its own: a discriminator shares its first, a generator its last."""
    parts = {}
    for name, vector in state.vectors.items():
        count = int(share * vector.numel())
        cut = count if name == "discriminator" else vector.numel() - count
        first, last = vector[:cut], vector[cut:]
        parts[name] = (first, last) if name == "discriminator" else (last, first)
    return parts


@pytest.mark.parametrize("norm", [False, True])
def test_pairs_share_the_requested_half_of_their_parameters(norm: bool) -> None:
    game, play = small(norm), method(share=0.5)
    state = beginning(game, play)
    for _ in range(2):
        state, _ = walked(game, play, state, drawn(game, play, state, 3))
        first, *others = [split(local) for local in locals_of(state)]
        for name in game.players:
            for other in [*others, split(state)]:
                same(other[name][0], first[name][0])
                assert (other[name][1] != first[name][1]).all()


def test_shared_parameters_are_passed_on_with_the_optimizers_memory() -> None:
    game, play = small(), method(share=0.5)
    state = beginning(game, play)
    draws = drawn(game, play, state, 1)
    after, _ = walked(game, play, state, draws)
    count = len(draws[0].batches) // PAIRS
    alone = Method(Gradient(), Alternating(), ADAM)
    expected: State | None = None
    for n, local in enumerate(locals_of(state)):
        if expected is not None:
            for name, vector in local.vectors.items():
                cut = vector.numel() // 2
                shared = slice(0, cut) if name == "discriminator" else slice(vector.numel() - cut, None)
                memory, before = local.memory["optimizers"][name], expected.memory["optimizers"][name]
                for tree, key, source in (
                    (local.vectors, name, expected.vectors),
                    *((memory, key, before) for key in memory),
                ):
                    if not tree[key].dim():
                        continue
                    tree[key] = tree[key].clone()
                    tree[key][shared] = source[key][shared]
        expected, _ = alone.step(game, local, draws[0].batches[n * count : n * count + 2])
    last = locals_of(after)[-1]
    assert expected is not None
    same(last.vectors, expected.vectors)
    same(last.memory["optimizers"], expected.memory["optimizers"])


def test_local_pairs_that_share_do_not_depend_on_the_global_pair() -> None:
    game, play = small(), method(share=0.5)
    state = beginning(game, play)
    other = replace(state, vectors={name: vector + 1 for name, vector in state.vectors.items()})
    draws = drawn(game, play, state, 3)
    first, second = (walked(game, play, start, draws)[0] for start in (state, other))
    same(first.memory["scheme"]["locals"]["vectors"], second.memory["scheme"]["locals"]["vectors"])


def test_a_share_of_zero_equals_sgan() -> None:
    game = small()
    plain, none = method(), Method(Gradient(), Sgan(Alternating(), PAIRS, share=1e-9), ADAM)
    state = beginning(game, plain)
    draws = drawn(game, plain, state, 2)
    same(walked(game, plain, state, draws)[0].vectors, walked(game, none, state, draws)[0].vectors, 1e-9)


def test_mapped_global_pair_equals_pair_by_pair_when_local_pairs_share(monkeypatch: pytest.MonkeyPatch) -> None:
    game, play = small(norm=True), method(share=0.5)
    draws, results = drawn(game, play, beginning(game, play), 3), []
    for name, donate in (("mapped", False), ("mapped", True), ("one by one", False), ("one by one", True)):
        carry_out(name, monkeypatch)
        state, infos = beginning(game, play), []
        for step in draws:
            state, info = play.step(game, state, step.batches, step.noise, donate=donate)
            infos.append(info.extra)
        results.append((state.flat(), infos))
    for end in results[1:]:
        same(end, results[0], 1e-9)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_invalid_shares_are_refused(share: float) -> None:
    with pytest.raises(InvalidValue, match="share"):
        Sgan(Alternating(), share=share)
