"""Ordinary hand-written PyTorch loops, the reference of every measurement.

Each function takes modules and a source of real batches, and returns a function that does one training step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

Step = Callable[[], None]
Draw = Callable[[], Tensor]


def _optimizers(generator: nn.Module, discriminator: nn.Module, rate: float) -> tuple[torch.optim.Adam, ...]:
    return tuple(torch.optim.Adam(m.parameters(), lr=rate, betas=(0.5, 0.999)) for m in (generator, discriminator))


def alternating(generator: nn.Module, discriminator: nn.Module, draw: Draw, latent: int, rate: float) -> Step:
    """Return the usual step: update the discriminator, then the generator, each on its own batch."""
    optimizer_g, optimizer_d = _optimizers(generator, discriminator, rate)

    def step() -> None:
        real = draw()
        fake = generator(torch.randn(len(real), latent, device=real.device)).detach()
        loss_d = softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        fake = generator(torch.randn(len(real), latent, device=real.device))
        loss_g = softplus(-discriminator(fake)).mean()
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()

    return step


def alternating_shared_batch(
    generator: nn.Module, discriminator: nn.Module, draw: Draw, latent: int, rate: float
) -> Step:
    """Return the step of PyTorch's tutorial: both updates on one batch, which is generated once."""
    optimizer_g, optimizer_d = _optimizers(generator, discriminator, rate)

    def step() -> None:
        real = draw()
        fake = generator(torch.randn(len(real), latent, device=real.device))
        loss_d = softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        loss_g = softplus(-discriminator(fake)).mean()
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()

    return step


def simultaneous(generator: nn.Module, discriminator: nn.Module, draw: Draw, latent: int, rate: float) -> Step:
    """Return the step that updates both players from the same point, on the same batch, with one forward pass."""
    optimizer_g, optimizer_d = _optimizers(generator, discriminator, rate)
    parameters_g, parameters_d = list(generator.parameters()), list(discriminator.parameters())

    def step() -> None:
        real = draw()
        score_real = discriminator(real)
        score_fake = discriminator(generator(torch.randn(len(real), latent, device=real.device)))
        loss_g = softplus(-score_fake).mean()
        loss_d = softplus(-score_real).mean() + softplus(score_fake).mean()
        gradient_g = torch.autograd.grad(loss_g, parameters_g, retain_graph=True)
        gradient_d = torch.autograd.grad(loss_d, parameters_d)
        for parameter, gradient in zip(parameters_g + parameters_d, gradient_g + gradient_d, strict=True):
            parameter.grad = gradient
        optimizer_g.step()
        optimizer_d.step()

    return step


def consensus(
    generator: nn.Module, discriminator: nn.Module, draw: Draw, latent: int, rate: float, strength: float = 10.0
) -> Step:
    """Return the simultaneous step plus strength times the gradient of ½‖v‖²."""
    optimizer_g, optimizer_d = _optimizers(generator, discriminator, rate)
    parameters_g, parameters_d = list(generator.parameters()), list(discriminator.parameters())
    parameters = parameters_g + parameters_d

    def step() -> None:
        real = draw()
        score_real = discriminator(real)
        score_fake = discriminator(generator(torch.randn(len(real), latent, device=real.device)))
        loss_g = softplus(-score_fake).mean()
        loss_d = softplus(-score_real).mean() + softplus(score_fake).mean()
        gradients = torch.autograd.grad(loss_g, parameters_g, create_graph=True)
        gradients += torch.autograd.grad(loss_d, parameters_d, create_graph=True)
        regulariser = 0.5 * sum(gradient.square().sum() for gradient in gradients)
        pulls = torch.autograd.grad(regulariser, parameters)
        for parameter, gradient, pull in zip(parameters, gradients, pulls, strict=True):
            parameter.grad = gradient.detach() + strength * pull
        optimizer_g.step()
        optimizer_d.step()

    return step


LOOPS = {
    "alternating": alternating,
    "alternating_shared_batch": alternating_shared_batch,
    "simultaneous": simultaneous,
    "consensus": consensus,
}
