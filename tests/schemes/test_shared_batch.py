"""Both turns on one batch: the loop of PyTorch's tutorial, and how often modules are called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.fields.variance_reduced import VarianceReduced
from detente.game import EvaluationSettings
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.modules.calling import build
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.penalties.gradient_penalty import GradientPenalty
from detente.registry import members
from detente.schemes.alternating import Alternating
from detente.schemes.base import Scheme
from detente.schemes.shared_batch import SharedBatch
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
    generated, scored = [], []
    torch.manual_seed(0)

    def extra() -> list[nn.Module]:
        return [nn.BatchNorm1d(8)] * norm + [nn.Dropout(0.4)] * dropout  # pyright: ignore

    generator = Counted(generated, nn.Linear(3, 8), *extra(), nn.Tanh(), nn.Linear(8, 2))
    discriminator = Counted(scored, nn.Linear(2, 8), *extra(), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    game = Adversarial(generator, discriminator, torch.randn(40, 2), 3, batch=10, fixed_latents=True, **settings)
    generated.clear()
    scored.clear()
    return game, generated, scored


def prepared(game: Adversarial, method: Method) -> tuple[State, torch.Generator]:
    generator = torch.Generator().manual_seed(1)
    return method.prepare(game, method.initial(game, generator), generator), generator


def test_steps_equal_the_loop_of_the_pytorch_tutorial() -> None:
    """Samples are generated once, BatchNorm's running means move once in G and three times in D."""
    game, _, _ = gan(norm=True)
    method = methods.alternating_shared_batch("sgd", 0.1)  # Adam makes steps of rounding errors before BatchNorm
    state, generator = prepared(game, method)
    modules = {name: build(name, game.builders[name], torch.Generator()) for name in game.players}
    optimizers = {name: torch.optim.SGD(module.parameters(), 0.1) for name, module in modules.items()}
    g, d = modules["generator"], modules["discriminator"]
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
    for name, module in modules.items():
        flat = game.layouts[name].flatten(dict(module.named_parameters()))
        torch.testing.assert_close(state.vectors[name], flat.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state.buffers[name], dict(module.named_buffers()), rtol=1e-5, atol=1e-6)
    counts = {name: int(buffers["1.num_batches_tracked"]) for name, buffers in state.buffers.items()}
    assert counts == {"generator": 6, "discriminator": 18}


@pytest.mark.parametrize(
    ("field", "generated", "scored"),
    [(Gradient(), 1, 3), (VarianceReduced(), 2, 5), (VarianceReduced(players=("discriminator",)), 2, 5)],
)
def test_each_module_is_called_once_per_point(field: Any, generated: int, scored: int) -> None:
    game, generator_calls, discriminator_calls = gan()
    method = Method(field, SharedBatch(), SGD(0.1))
    state, generator = prepared(game, method)
    drawn = draw(game, method, state, generator)
    generator_calls.clear()
    discriminator_calls.clear()
    method.step(game, state, drawn.batches, drawn.noise)
    assert (generator_calls, discriminator_calls) == ([10] * generated, [10] * scored)


@pytest.mark.parametrize("field", members("fields"))
@pytest.mark.parametrize("order", [None, ("generator", "discriminator")])
def test_sharing_does_not_change_results(field: str, order: tuple[str, str] | None) -> None:
    """Alternating on the same batch twice, which shares nothing."""
    game, _, _ = gan(objective="minimax")
    schemes = SharedBatch(order), Alternating(order)
    shared, plain = (Method(members("fields")[field](), scheme, Adam(0.05)) for scheme in schemes)
    (state, generator), (other, _) = prepared(game, shared), prepared(game, plain)
    for _ in range(5):
        drawn = draw(game, shared, state, generator)
        state, info = shared.step(game, state, drawn.batches, drawn.noise, donate=True)
        other, other_info = plain.step(game, other, drawn.batches * 2, drawn.noise * 2)
        torch.testing.assert_close([state.flat(), info.losses], [other.flat(), other_info.losses], rtol=0, atol=0)


def same_step(game: Adversarial) -> None:
    """Assert that a step is the one of `Alternating` on the same batch twice."""
    shared, plain = (Method(Gradient(), scheme, SGD(0.1)) for scheme in (SharedBatch(), Alternating()))
    (state, generator), (other, _) = prepared(game, shared), prepared(game, plain)
    drawn = draw(game, shared, state, generator)
    state, _ = shared.step(game, state, drawn.batches, drawn.noise)
    other, _ = plain.step(game, other, drawn.batches * 2, drawn.noise * 2)
    torch.testing.assert_close(state.vectors, other.vectors, rtol=0, atol=0)


@pytest.mark.parametrize("settings", [EvaluationSettings(accumulate=2), EvaluationSettings("bfloat16")])
def test_sharing_works_with_accumulation_and_bfloat16(settings: EvaluationSettings) -> None:
    game, _, _ = gan()
    same_step(game.with_settings(settings))


def test_sharing_works_with_penalties_and_dropout() -> None:
    same_step(gan(penalties=(GradientPenalty(),))[0])
    same_step(gan(dropout=True, penalties=(GradientPenalty(),))[0])


@pytest.mark.parametrize("scheme", [SharedBatch(("generator",)), SharedBatch(("generator", "x"))])
def test_an_order_must_name_each_player_once(scheme: Scheme) -> None:
    game, _, _ = gan()
    with pytest.raises(InvalidValue, match="each of generator, discriminator once"):
        Method(Gradient(), scheme, SGD(0.1)).initial(game, torch.Generator())
