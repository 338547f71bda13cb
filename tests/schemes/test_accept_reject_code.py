"""The authors' code for four Gaussians: against a loop with plain autograd and torch.optim."""

from __future__ import annotations

import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.games import presets
from detente.training.step import draw


@pytest.mark.parametrize("paper_sign", [False, True])
@pytest.mark.parametrize("restore_both", [False, True])
def test_steps_equal_a_plain_loop(paper_sign: bool, restore_both: bool) -> None:
    game = presets.four_gaussians(batch=4)
    method = methods.accept_reject_code(3, 4, paper_sign, restore_both)
    generator = torch.Generator().manual_seed(3)
    state = method.initial(game, generator)
    names = ("generator", "discriminator")
    parameters = {name: state.vectors[name].clone().requires_grad_() for name in names}
    adams = {
        name: torch.optim.Adam([parameters[name]], rate, (0.5, 0.999))
        for name, rate in zip(names, (1e-3, 1e-4), strict=True)
    }
    old, decisions = None, []
    for step in range(12):
        drawn = draw(game, method, state, generator)
        state, info = method.step(game, state, drawn.batches, drawn.noise)
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        for index, batch in enumerate(drawn.batches):
            losses, _ = game.losses(dict(parameters), state.buffers, batch, names)
            moving = names if index == 0 else ("discriminator",)
            gradients = [torch.autograd.grad(losses[name], parameters[name], retain_graph=True)[0] for name in moving]
            for name, gradient in zip(moving, gradients, strict=True):
                parameters[name].grad = gradient
                adams[name].step()
            new = float(losses["discriminator"].detach())
        accept = step % 4 == 0 or (new > old if paper_sign else new <= old)  # pyright: ignore
        if not accept:
            with torch.no_grad():
                for name in names if restore_both else ("generator",):
                    parameters[name].copy_(before[name])
        old = new  # pyright: ignore[reportPossiblyUnboundVariable]
        decisions.append(accept)
        assert bool(info.extra["accepted"]) == accept
        for name in names:
            torch.testing.assert_close(state.vectors[name], parameters[name].detach(), rtol=1e-4, atol=1e-6)
    assert {*decisions[1:4], *decisions[5:8], *decisions[9:12]} == {True, False}


def test_declared_cost_and_invalid_arguments() -> None:
    method = methods.accept_reject_code(6)
    assert method.draws(presets.four_gaussians()) == 6 and method.gradient_evaluations(presets.four_gaussians()) == 7
    with pytest.raises(InvalidValue, match="^ascent_steps: got 0"):
        methods.accept_reject_code(0)
    with pytest.raises(InvalidValue, match="^accept_every: got 0"):
        methods.accept_reject_code(accept_every=0)
