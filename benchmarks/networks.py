"""A step of `detente.Networks` against the same step written by hand: `python -m benchmarks.networks`.

An autoencoder with a patch discriminator and a frozen perceptual network, alternating Adam, batches of 64 images of 28
by 28 pixels, one CPU thread.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, relu

from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente.fields.gradient import Gradient
from detente.games.networks import Networks
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.schemes.alternating import Alternating
from detente.training.stepper import Stepper

RATE, BETAS = 1e-4, (0.5, 0.999)


def autoencoder() -> nn.Module:
    """Return a convolutional autoencoder with BatchNorm."""
    encoder = [nn.Conv2d(1, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32)]
    decoder = [nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1)]
    return nn.Sequential(*encoder, nn.ReLU(), *decoder, nn.Tanh())


def judge() -> nn.Module:
    """Return a patch discriminator."""
    layers = [nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(32, 1, 3))


def losses(net: Any, batch: Any) -> dict[str, Any]:
    """Return the losses of both; terms that only one turn needs are functions."""
    x = batch["x"]
    y = net.autoencoder(x)
    fake = net.judge(y)
    return {
        "autoencoder": {
            "l1": lambda: l1_loss(y, x),
            "perceptual": lambda: mse_loss(net.look(y), net.look(x)),
            "adversarial": -fake.mean(),
        },
        "judge": lambda: {"hinge": relu(1 - net.judge(x)).mean() + relu(1 + fake).mean()},
    }


def run(quick: bool) -> list[Row]:
    """Measure both steps alternately."""
    with torch.random.fork_rng(), threads(1):
        torch.manual_seed(0)
        model, critic = autoencoder(), judge()
        look = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1))
        x = torch.rand(64, 1, 28, 28) * 2 - 1
        players, frozen = {"autoencoder": model, "judge": critic}, {"look": look}
        game = Networks(players, losses, {"x": x}, batch=64, frozen=frozen)
        stepper = Stepper(game, Method(Gradient(), Alternating(), Adam(RATE, BETAS)))
        hand = _by_hand(copy.deepcopy(model), copy.deepcopy(critic), copy.deepcopy(look).eval().requires_grad_(False))
        candidates = {"Networks": lambda: stepper.step({"x": x}), "by hand": lambda: hand(x)}
        timing = interleave(candidates, rounds=3 if quick else 15)
    detail = ", ".join(f"{name} {milliseconds(timing.median(name))}" for name in candidates)
    what = "step of `Networks` / step by hand (CPU time)"
    return [Row.of(what, timing.processor_ratio("Networks", "by hand"), target=1.05, detail=detail)]


def _by_hand(model: nn.Module, critic: nn.Module, look: nn.Module) -> Any:
    """Return the step as usually written by hand."""
    of_model, of_critic = (torch.optim.Adam(m.parameters(), RATE, BETAS) for m in (model, critic))

    def step(x: Tensor) -> tuple[float, float]:
        fake = model(x).detach()
        hinge = relu(1 - critic(x)).mean() + relu(1 + critic(fake)).mean()
        of_critic.zero_grad()
        hinge.backward()
        of_critic.step()
        y = model(x)
        loss = l1_loss(y, x) + mse_loss(look(y), look(x)) - critic(y).mean()
        of_model.zero_grad()
        loss.backward()
        of_model.step()
        return hinge.item(), loss.item()

    return step


if __name__ == "__main__":
    for row in run(quick=False):
        print(f"{row.what}: {row.median:.3f} ({row.low:.3f}–{row.high:.3f}); {row.detail}")
