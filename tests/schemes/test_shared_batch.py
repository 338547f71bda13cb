"""NoisePerBatch on one batch: the tutorial's loop, and how often modules are called for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import methods
from detente.autodiff import accumulating
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.fields.variance_reduced import VarianceReduced
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.modules.calling import build, computing_in
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.penalties.gradient_penalty import GradientPenalty
from detente.registry import members
from detente.schemes.alternating import Alternating
from detente.schemes.base import Scheme
from detente.schemes.shared_batch import SharedBatch
from detente.shortcuts.forward_cache import shared
from detente.state import State
from detente.training.step import draw


class Counted(nn.Sequential):
    """Layers that count how often they are called, in a list which copies of them share."""

    def __init__(self, calls: list[int], *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.count = calls.append

    def forward(self, x: Tensor) -> Tensor:
        self.count(len(x))
        return super().forward(x)


def gan(norm: bool = False, dropout: bool = False, **settings: Any) -> tuple[Adversarial, list[int], list[int]]:
    """Return a game over 40 points, and lists to which every call of a player's module adds."""
    made, scored = [], []
    torch.manual_seed(0)

    def extra() -> list[nn.Module]:
        return [nn.BatchNorm1d(8)] * norm + [nn.Dropout(0.4)] * dropout  # pyright: ignore

    generator = Counted(made, nn.Linear(3, 8), *extra(), nn.Tanh(), nn.Linear(8, 2))
    discriminator = Counted(scored, nn.Linear(2, 8), *extra(), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    game = Adversarial(generator, discriminator, torch.randn(40, 2), 3, batch=10, fixed_latents=True, **settings)
    made.clear()
    scored.clear()
    return game, made, scored


def begun(game: Adversarial, method: Method) -> tuple[State, torch.Generator]:
    generator = torch.Generator().manual_seed(1)
    return method.prepare(game, method.initial(game, generator), generator), generator


def test_the_loop_of_the_tutorial_with_its_running_means() -> None:
    """Samples are generated once, BatchNorm's running means move once in G and three times in D."""
    game, _, _ = gan(norm=True)
    method = methods.alternating_shared_batch("sgd", 0.1)  # Adam makes steps of rounding errors before BatchNorm
    state, generator = begun(game, method)
    theirs = {name: build(name, game.builders[name], torch.Generator()) for name in game.players}
    optimizers = {name: torch.optim.SGD(module.parameters(), 0.1) for name, module in theirs.items()}
    g, d = theirs["generator"], theirs["discriminator"]
    for _ in range(6):
        drawn = draw(game, method, state, generator)
        state, info = method.step(game, state, drawn.batches, drawn.noise)
        (batch,) = drawn.batches

        fake = g(batch["latent"])
        d.zero_grad()
        loss_d = softplus(-d(batch["real"])).mean() + softplus(d(fake.detach())).mean()
        loss_d.backward()
        optimizers["discriminator"].step()
        g.zero_grad()
        loss_g = softplus(-d(fake)).mean()
        loss_g.backward()
        optimizers["generator"].step()
        torch.testing.assert_close(info.losses, {"generator": loss_g.detach(), "discriminator": loss_d.detach()})
    for name, module in theirs.items():
        flat = game.layouts[name].flatten(dict(module.named_parameters()))
        torch.testing.assert_close(state.vectors[name], flat.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state.buffers[name], dict(module.named_buffers()), rtol=1e-5, atol=1e-6)
    counts = {name: int(buffers["1.num_batches_tracked"]) for name, buffers in state.buffers.items()}
    assert counts == {"generator": 6, "discriminator": 18}


@pytest.mark.parametrize(
    ("field", "generated", "scored"),
    [(Gradient(), 1, 3), (VarianceReduced(), 2, 5), (VarianceReduced(players=("discriminator",)), 2, 5)],
)
def test_no_module_is_called_twice_at_one_point(field: Any, generated: int, scored: int) -> None:
    game, made, seen = gan()
    method = Method(field, SharedBatch(), SGD(0.1))
    state, generator = begun(game, method)
    drawn = draw(game, method, state, generator)
    made.clear()
    seen.clear()
    method.step(game, state, drawn.batches, drawn.noise)
    assert (made, seen) == ([10] * generated, [10] * scored)
    assert shared() is None


@pytest.mark.parametrize("field", members("fields"))
@pytest.mark.parametrize("order", [None, ("generator", "discriminator")])
def test_what_is_shared_changes_no_number(field: str, order: tuple[str, str] | None) -> None:
    """Alternating on the same batch twice, which shares nothing."""
    game, _, _ = gan(objective="minimax")
    schemes = SharedBatch(order), Alternating(order)
    ours, plain = (Method(members("fields")[field](), scheme, Adam(0.05)) for scheme in schemes)
    (state, generator), (other, _) = begun(game, ours), begun(game, plain)
    for _ in range(5):
        drawn = draw(game, ours, state, generator)
        state, told = ours.step(game, state, drawn.batches, drawn.noise, donate=True)
        other, also = plain.step(game, other, drawn.batches * 2, drawn.noise * 2)
        torch.testing.assert_close([state.flat(), told.losses], [other.flat(), also.losses], rtol=0, atol=0)


def in_parts() -> Any:
    return accumulating(2)


def in_bfloat16() -> Any:
    return computing_in("bfloat16")


def same_step(game: Adversarial) -> None:
    """Assert that a step is the one of `Alternating` on the same batch twice."""
    ours, plain = (Method(Gradient(), scheme, SGD(0.1)) for scheme in (SharedBatch(), Alternating()))
    (state, generator), (other, _) = begun(game, ours), begun(game, plain)
    drawn = draw(game, ours, state, generator)
    state, _ = ours.step(game, state, drawn.batches, drawn.noise)
    other, _ = plain.step(game, other, drawn.batches * 2, drawn.noise * 2)
    torch.testing.assert_close(state.vectors, other.vectors, rtol=0, atol=0)


@pytest.mark.parametrize("within", [in_parts, in_bfloat16])
def test_parts_and_short_numbers_go_with_it(within: Callable[[], Any]) -> None:
    game, _, _ = gan()
    with within():
        same_step(game)


def test_penalties_go_with_it_and_dropout_draws_as_if_nothing_were_shared() -> None:
    same_step(gan(penalties=(GradientPenalty(),))[0])
    same_step(gan(dropout=True, penalties=(GradientPenalty(),))[0])


@pytest.mark.parametrize("scheme", [SharedBatch(("generator",)), SharedBatch(("generator", "x"))])
def test_an_order_names_each_player_once(scheme: Scheme) -> None:
    game, _, _ = gan()
    with pytest.raises(InvalidValue, match="each of generator, discriminator once"):
        Method(Gradient(), scheme, SGD(0.1)).initial(game, torch.Generator())
