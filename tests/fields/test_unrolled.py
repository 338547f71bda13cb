"""Unrolled gradients: closed forms, finite differences, hand-written loops, and the opponent's moments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.autodiff import vector_field
from detente.errors import InvalidValue
from detente.fields.unrolled import Unrolled
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear, Quadratic
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.schemes.alternating import Alternating
from detente.schemes.base import Scheme
from detente.schemes.simultaneous import Simultaneous
from detente.state import Tree
from tests.fields.small_games import Three, counted, gan, start

INNER = [Unrolled(4, 0.3, "gradient"), Unrolled(4, 0.02, "adam")]
both = pytest.mark.parametrize("field", INNER, ids=lambda field: field.inner)


def moments_after_steps(field: Unrolled, size: int) -> Tree:
    """Return optimizer moments as they may be after three steps."""
    if field.inner == "gradient":
        return {}
    random = torch.Generator().manual_seed(3)
    mean, other = (torch.randn(size, generator=random, dtype=torch.float64) * 0.1 for _ in range(2))
    return {"count": torch.tensor(3), "mean": mean, "square": mean.square() + other.square()}


def test_bilinear_closed_form() -> None:
    """For f = σxᵀy: y_K = y + Kησx, so ∇_x f(x, y_K(x)) = σy + 2Kησ²x."""
    game = Bilinear(2, scale=1.5, start=(1.0, -2.0, 0.5, 3.0))
    vectors, buffers, batch = start(game)
    evaluation, _ = Unrolled(7, 0.1, "gradient")(game, vectors, buffers, batch, {}, game.players)
    torch.testing.assert_close(evaluation.field["x"], 1.5 * vectors["y"] + 2 * 7 * 0.1 * 1.5**2 * vectors["x"])
    torch.testing.assert_close(evaluation.field["y"], -1.5 * vectors["x"])
    ahead = vectors["y"] + 7 * 0.1 * 1.5 * vectors["x"]
    torch.testing.assert_close(evaluation.losses["x"], 1.5 * vectors["x"] @ ahead)


def unrolled_loss(field: Unrolled, game: Game, vectors: Vectors, rest: tuple[Buffers, Batch], memory: Tree) -> Tensor:
    """Return L_G(x, y_K) by gradient steps and torch's own Adam, without differentiating through them."""
    y = nn.Parameter(vectors["discriminator"].clone())
    optimizer: torch.optim.Optimizer
    assert isinstance(field.learning_rate, float)
    if field.inner == "gradient":
        optimizer = torch.optim.SGD([y], field.learning_rate)
    else:
        optimizer = torch.optim.Adam([y], field.learning_rate, field.betas, field.epsilon)
        known = {"exp_avg": memory["mean"].clone(), "exp_avg_sq": memory["square"].clone()}
        optimizer.state[y] = {"step": memory["count"].float(), **known}
    for _ in range(field.steps):
        at = {**vectors, "discriminator": y.detach()}
        y.grad = vector_field(game, at, *rest, ("discriminator",)).field["discriminator"]
        optimizer.step()
    return game.losses({**vectors, "discriminator": y.detach()}, *rest, ("generator",))[0]["generator"]


@both
def test_finite_differences_of_the_loss_after_k_moves(field: Unrolled) -> None:
    game = gan()
    vectors, buffers, batch = start(game)
    rest = buffers, batch
    memory = moments_after_steps(field, vectors["discriminator"].numel())
    evaluation, _ = field(game, vectors, *rest, memory, game.players)
    x, differences = vectors["generator"], []
    for unit in torch.eye(len(x)).double() * 1e-5:
        losses = (
            unrolled_loss(field, game, {**vectors, "generator": x + side * unit}, rest, memory) for side in (1, -1)
        )
        differences.append((next(losses) - next(losses)) / 2e-5)
    torch.testing.assert_close(evaluation.field["generator"], torch.stack(differences), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(evaluation.losses["generator"], unrolled_loss(field, game, vectors, rest, memory))
    plain = vector_field(game, vectors, *rest)
    torch.testing.assert_close(evaluation.field["discriminator"], plain.field["discriminator"])
    assert (evaluation.field["generator"] - plain.field["generator"]).norm() > 0.01 * plain.field["generator"].norm()


def test_gradient_equals_a_hand_written_nested_loop() -> None:
    game, steps, rate = gan(), 3, 0.3
    vectors, buffers, batch = start(game)
    x, y = vectors["generator"].clone().requires_grad_(), vectors["discriminator"].clone().requires_grad_()
    ahead = y
    for _ in range(steps):
        loss = game.losses({"generator": x, "discriminator": ahead}, buffers, batch)[0]["discriminator"]
        ahead = ahead - rate * torch.autograd.grad(loss, ahead, create_graph=True)[0]
    game.losses({"generator": x, "discriminator": ahead}, buffers, batch)[0]["generator"].backward()
    evaluation, _ = Unrolled(steps, rate, "gradient")(game, vectors, buffers, batch, {}, ("generator",))
    torch.testing.assert_close(evaluation.field["generator"], x.grad)


@pytest.mark.parametrize("scheme", [Simultaneous(), Alternating()], ids=lambda scheme: type(scheme).__name__)
def test_unrolling_uses_the_moments_of_the_opponents_adam(scheme: Scheme) -> None:
    game, adam = gan(), Adam(0.02)
    play = Method(Unrolled(3, 0.02), scheme, {"generator": Adam(0.01), "discriminator": adam})
    generator = torch.Generator().manual_seed(0)
    state = play.initial(game, generator)
    for _ in range(4):
        state, _ = play.step(game, state, tuple(game.draw(generator) for _ in range(play.draws(game))))
    torch.testing.assert_close(state.memory["field"], state.memory["optimizers"]["discriminator"])
    assert int(state.memory["field"]["count"]) == 4


@both
def test_gradient_is_equal_in_both_engines(field: Unrolled) -> None:
    game = gan()
    vectors, buffers, batch = start(game)
    memory = moments_after_steps(field, vectors["discriminator"].numel())
    eager = field(game, vectors, buffers, batch, memory, game.players)

    def play(x: Tensor) -> tuple[Vectors, dict[str, Tensor], Buffers, Tree]:
        evaluation, after = field(game, {**vectors, "generator": x}, buffers, batch, memory, game.players)
        return evaluation.field, evaluation.losses, evaluation.buffers, after

    mapped = torch.func.vmap(play)(torch.stack([vectors["generator"], vectors["generator"] + 1]))
    for block, expected in zip(mapped[0].values(), eager[0].field.values(), strict=True):
        torch.testing.assert_close(block[0], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close({k: v[0] for k, v in mapped[3].items()}, eager[1], rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:vanishing gradient")  # as the set-up deserves
def test_dead_units_give_finite_gradients() -> None:
    """A dead unit's gradient is zero, and so are its second moments, whose root has no derivative there."""
    generator, discriminator = nn.Linear(2, 1).double(), nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    nn.init.constant_(discriminator[0].bias, -50.0)  # pyright: ignore[reportArgumentType]
    game = Adversarial(generator, discriminator.double(), torch.randn(8, 1), 2, "minimax", batch=4)
    vectors, buffers, batch = start(game)
    field = Unrolled(3)
    evaluation, _ = field(game, vectors, buffers, batch, field.initial(game, vectors, buffers), game.players)
    assert bool((evaluation.field["discriminator"] == 0).any())
    assert all(bool(block.isfinite().all()) for block in evaluation.field.values())


def test_unrolling_converges_on_the_bilinear_game() -> None:
    game = Bilinear(2)
    lengths = []
    for play in (methods.simultaneous("sgd", 0.1), Method(Unrolled(5, 0.1, "gradient"), Simultaneous(), SGD(0.1))):
        state = play.initial(game, torch.Generator().manual_seed(0))
        for _ in range(200):
            state, _ = play.step(game, state, ({},))
        lengths.append(float(torch.cat(list(state.vectors.values())).norm()))
    assert lengths[0] > 2 and lengths[1] < 1e-3


@both
def test_declared_cost_equals_the_counted_gradients(field: Unrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    game = gan()
    at = start(game)
    memory = field.initial(game, *at[:2])
    costs = [
        counted(monkeypatch, lambda moving=moving: field(game, *at, memory, moving))
        for moving in (("generator",), ("discriminator",), game.players)
    ]
    assert costs == [5, 1, 5]
    assert costs[0] == field.gradient_evaluations(("generator",), game.players)


def test_the_other_player_can_be_unrolled() -> None:
    game = Quadratic([[1.0]], [[2.0]], [[3.0]], start=(1.0, -1.0))
    vectors, buffers, batch = start(game)
    evaluation, _ = Unrolled(1, 0.1, "gradient", player="y")(game, vectors, buffers, batch, {}, game.players)
    x, y = 1.0, -1.0
    ahead = x - 0.1 * (x + 2 * y)  # L_y = −f = −½x² − 2xy + 1.5y², and d ahead / dy = −0.2
    assert float(evaluation.field["y"]) == pytest.approx(-2 * ahead + 3 * y + (-ahead - 2 * y) * -0.2)
    assert float(evaluation.field["x"]) == pytest.approx(x + 2 * y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Unrolled().check(Three()), "game: got 'Three with 3 players'; allowed: a game of two players"),
        (lambda: Unrolled(player="z").check(Bilinear()), "player: got 'z'; allowed: one of x, y"),
        (lambda: methods.unrolled().check(Bilinear()), "optimizer: got .*; allowed: one optimizer for each of x, y"),
        (lambda: Unrolled(betas=(0.5, 1.0)), "betas: got"),
    ],
)
def test_unsuitable_games_and_settings_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        call()
