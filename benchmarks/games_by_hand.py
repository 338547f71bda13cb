"""The six games of examples/ as ordinary training loops in plain PyTorch: oracles of the tests, and of the step's cost.

Each function takes a game's modules and learning rates by player and returns a function that takes one step on a batch:
first the discriminators (or multipliers) move, then the others, each with Adam, as in `methods.alternating`. They are
as fast as careful ordinary loops: only the moving player's parameters are differentiated, and Adam is fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool1d,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    relu,
    softplus,
)

Step = Callable[[Mapping[str, Tensor]], None]
Modules = Mapping[str, Any]
Rates = Mapping[str, float]


class Adam:
    """One player's optimizer; only its own parameters are differentiated while it moves."""

    def __init__(self, rate: float, modules: Iterable[nn.Module] = (), vector: Tensor | None = None) -> None:
        self.parameters = [p for module in modules for p in module.parameters()] if vector is None else [vector]
        self.optimizer = torch.optim.Adam(self.parameters, rate, betas=(0.5, 0.999), fused=True)

    def step(self, loss: Tensor) -> None:
        """Move along the loss's gradient."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def frozen(self, value: bool = True) -> None:
        """Stop differentiating the parameters, or start again."""
        for parameter in self.parameters:
            parameter.requires_grad_(not value)


def vq_autoencoder(modules: Modules, rates: Rates, weight: float = 0.1, start: int = 500, ramp: int = 500) -> Step:
    """Return the step of examples/vq_autoencoder.py."""
    autoencoder, judge = modules["autoencoder"], modules["judge"]
    of_autoencoder, of_judge = Adam(rates["autoencoder"], [autoencoder]), Adam(rates["judge"], [judge])
    count = 0

    def step(batch: Mapping[str, Tensor]) -> None:
        nonlocal count
        x = batch["real"]
        with torch.no_grad():
            reconstruction, _, _ = autoencoder(x)
        of_judge.step(relu(1 - judge(x)).mean() + relu(1 + judge(reconstruction)).mean())
        of_judge.frozen()
        reconstruction, codebook, commitment = autoencoder(x)
        adversarial = -weight * min(max((count - start) / ramp, 0), 1) * judge(reconstruction).mean()
        of_autoencoder.step(l1_loss(reconstruction, x) + codebook + 0.25 * commitment + adversarial)
        of_judge.frozen(False)
        count += 1

    return step


def vocoder(modules: Modules, rates: Rates) -> Step:
    """Return the step of examples/vocoder.py."""
    maker, judges = modules["vocoder"], modules["judges"]
    of_maker, of_judges = Adam(rates["vocoder"], [maker]), Adam(rates["judges"], judges)

    def spectrum(sound: Tensor, size: int = 256) -> Tensor:
        wave = torch.stft(sound[:, 0], size, 64, window=torch.hann_window(size), return_complex=True)[:, 1:, 1:]
        return (torch.view_as_real(wave).square().sum(-1) + 1e-4).log() / 2

    def step(batch: Mapping[str, Tensor]) -> None:
        sound, source = batch["sound"], batch["source"]
        features = avg_pool1d(spectrum(sound).mT, 4).mT
        with torch.no_grad():
            generated = maker(features, source)
        scores = [(judge(sound)[-1], judge(generated)[-1]) for judge in judges]
        losses = [(1 - real).square().mean() + fake.square().mean() for real, fake in scores]
        of_judges.step(sum(losses[1:], losses[0]))
        of_judges.frozen()
        generated = maker(features, source)
        loss = 20 * sum(l1_loss(spectrum(generated, size), spectrum(sound, size)) for size in (256, 128))
        for judge in judges:
            real, fake = judge(sound), judge(generated)
            for real_features, fake_features in zip(real, fake, strict=True):
                loss = loss + 2 * l1_loss(fake_features, real_features)
            loss = loss + (1 - fake[-1]).square().mean()
        of_maker.step(loss)
        of_judges.frozen(False)

    return step


def cyclegan(modules: Modules, rates: Rates) -> Step:
    """Return the step of examples/cyclegan.py."""
    negate, restore, of_negatives, of_digits = (
        modules[name] for name in ("negate", "restore", "judge_negatives", "judge_digits")
    )
    of_generators = Adam(rates["generators"], [negate, restore])
    of_judges = Adam(rates["judges"], [of_negatives, of_digits])

    def least_squares(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return (1 - judge(real)).square().mean() + judge(fake).square().mean()

    def step(batch: Mapping[str, Tensor]) -> None:
        digit, negative = batch["digit"], batch["negative"]
        with torch.no_grad():
            as_negative, as_digit = negate(digit), restore(negative)
        of_judges.step(least_squares(of_negatives, negative, as_negative) + least_squares(of_digits, digit, as_digit))
        of_judges.frozen()
        as_negative, as_digit = negate(digit), restore(negative)
        adversarial = (1 - of_negatives(as_negative)).square().mean() + (1 - of_digits(as_digit)).square().mean()
        cycle = l1_loss(restore(as_negative), digit) + l1_loss(negate(as_digit), negative)
        of_generators.step(adversarial + 5 * cycle)
        of_judges.frozen(False)

    return step


def domain_adversarial(modules: Modules, rates: Rates, strength: float = 0.3, ramp: int = 500) -> Step:
    """Return the step of examples/domain_adversarial.py."""
    features, classifier, domain = (modules[name] for name in ("features", "classifier", "domain"))
    movers = {name: Adam(rates[name], [modules[name]]) for name in ("features", "classifier", "domain")}
    count = 0

    def domains(source: Tensor, target: Tensor) -> Tensor:
        truth = torch.cat([torch.zeros(len(source), 1), torch.ones(len(target), 1)]).to(source)
        return binary_cross_entropy_with_logits(domain(torch.cat([source, target])), truth)

    def step(batch: Mapping[str, Tensor]) -> None:
        nonlocal count
        with torch.no_grad():
            source, target = features(batch["digit"]), features(batch["inverted"])
        movers["domain"].step(domains(source, target))
        movers["classifier"].step(cross_entropy(classifier(source), batch["label"]))
        movers["domain"].frozen()
        movers["classifier"].frozen()
        source, target = features(batch["digit"]), features(batch["inverted"])
        confusion = strength * min(count / ramp, 1) * domains(source, target)
        movers["features"].step(cross_entropy(classifier(source), batch["label"]) - confusion)
        movers["domain"].frozen(False)
        movers["classifier"].frozen(False)
        count += 1

    return step


def constrained(modules: Modules, rates: Rates) -> Step:
    """Return the step of examples/constrained.py."""
    classifier, multipliers = modules["classifier"], modules["multipliers"].clone().requires_grad_()
    of_classifier = Adam(rates["classifier"], [classifier])
    of_multipliers = Adam(rates["multipliers"], vector=multipliers)

    def excess(logits: Tensor, group: Tensor) -> Tensor:
        accepted = logits.sigmoid()
        share = group.mean()
        difference = (accepted * (group - share)).mean() / (share * (1 - share))
        return torch.stack([difference, -difference]) - 0.02

    def step(batch: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            violation = excess(classifier(batch["columns"])[:, 0], batch["group"])
        of_multipliers.step(-(multipliers @ violation))
        with torch.no_grad():
            multipliers.clamp_(min=0)
        of_multipliers.frozen()
        logits = classifier(batch["columns"])[:, 0]
        constraint = multipliers @ excess(logits, batch["group"])
        of_classifier.step(binary_cross_entropy_with_logits(logits, batch["accept"]) + constraint)
        of_multipliers.frozen(False)

    modules["multipliers"].set_(multipliers.detach())  # the caller reads them there
    return step


def tabular_gan(modules: Modules, rates: Rates) -> Step:
    """Return the step of examples/tabular_gan.py."""
    generator, discriminator = modules["generator"], modules["discriminator"]
    of_generator, of_discriminator = (Adam(rates[name], [modules[name]]) for name in ("generator", "discriminator"))

    def step(batch: Mapping[str, Tensor]) -> None:
        label = batch["label"]
        with torch.no_grad():
            fake = generator(batch["latent"], label)
        columns = batch["columns"].clone().requires_grad_()
        real = discriminator(columns, label)
        (slope,) = torch.autograd.grad(real.sum(), columns, create_graph=True)
        loss = softplus(-real).mean() + softplus(discriminator(fake, label)).mean()
        of_discriminator.step(loss + 0.05 * slope.square().sum(1).mean())
        of_discriminator.frozen()
        of_generator.step(softplus(-discriminator(generator(batch["latent"], label), label)).mean())
        of_discriminator.frozen(False)

    return step


LOOPS: dict[str, Callable[[Modules, Rates], Step]] = {
    "vq_autoencoder": vq_autoencoder,
    "vocoder": vocoder,
    "cyclegan": cyclegan,
    "domain_adversarial": domain_adversarial,
    "constrained": constrained,
    "tabular_gan": tabular_gan,
}
