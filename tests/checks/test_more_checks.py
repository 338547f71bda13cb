"""One broken and one healthy set-up for each check of the library's own GANs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import Adversarial, methods
from detente.checks import off
from detente.checks.base import Finding, Setup, inspect
from detente.data.base import Data
from detente.optimizers.torch_optimizer import Torch
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.lazy import Lazy
from detente.penalties.r1 import R1
from detente.registry import members
from detente.schedules.cosine import Cosine

PLANE = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def unchecked_construction() -> Iterator[None]:
    with off():
        yield


def findings_of(check: str, game: Any, method: Any = None) -> list[Finding]:
    return list(members("checks")[check]()(Setup(game, method)))


def failures(check: str, game: Any, method: Any = None) -> list[str]:
    return [finding.failure for finding in findings_of(check, game, method)]


def mlp(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], *([last] if last else []))


def plane(data: Any = PLANE, generator: Any = None, discriminator: Any = None, **options: Any) -> Adversarial:
    numbers = data.shape[-1]
    generator = generator or (lambda: mlp(4, 32, numbers))
    return Adversarial(generator, discriminator or (lambda: mlp(numbers, 32, 1)), data, latent=4, **options)


class Broken(Data):
    """Points; one in ten is NaN."""

    def __init__(self, share: float) -> None:
        self.share = share

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        points = torch.randn(count, 2, generator=generator)
        points[torch.rand(count, generator=generator) < self.share] = float("nan")
        return {"real": points}


def test_data_with_nan() -> None:
    assert failures("finite_data", plane(Broken(0.1))) == ["blow-up", "data scale"]
    assert failures("finite_data", plane(Broken(0.0))) == []


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (lambda x: (1.5 * x).exp(), "skewness"),
        (lambda x: (x > 0).float(), "only 2 values"),
        (lambda x: torch.full_like(x, 7.0), "always the value 7"),
        (lambda x: x.abs(), ""),
        (lambda x: x.round(decimals=1), ""),
    ],
)
def test_columns_of_a_table(column: Any, text: str) -> None:
    table = torch.stack([PLANE[:, 0], column(PLANE[:, 1])], 1)
    findings = findings_of("columns", plane(table))
    assert [finding.failure for finding in findings] == (["data scale"] if text else [])
    assert all(text in finding.evidence and "olumn 1" in finding.evidence for finding in findings)


def test_a_saturated_discriminator() -> None:
    def discriminator(scale: float) -> nn.Module:
        module = mlp(2, 32, 1, last=nn.Sigmoid())
        for name, parameter in module.named_parameters():
            parameter.data *= 0 if name.endswith("bias") else scale  # without biases, scores are on both sides
        return module

    for scale, expected in ((1e4, ["vanishing gradient"]), (1.0, [])):
        game = plane(discriminator=lambda s=scale: discriminator(s), scores="probabilities")
        assert failures("saturation", game) == expected


class Modes(nn.Module):
    """A generator that scales its samples in evaluation mode."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.body, self.factor = mlp(4, 32, 2), factor

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z) * (1.0 if self.training else self.factor)


class OwnNorm(Modes):
    """A generator that normalises by the batch in training only."""

    def forward(self, z: Tensor) -> Tensor:
        x = self.body(z)
        return (x - x.mean(0)) / x.std(0) if self.training else self.factor * x


def normed(momentum: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 32, bias=True), nn.BatchNorm1d(32, momentum=momentum), nn.LeakyReLU(0.2), nn.Linear(32, 2)
    )


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        (lambda: normed(0.0), ["normalisation"]),
        (lambda: nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.8), nn.ReLU(), nn.Linear(32, 2)), ["sampling"]),
        (lambda: Modes(3.0), ["sampling"]),
        (lambda: OwnNorm(9.0), ["normalisation"]),
        (lambda: normed(0.1), []),
        (lambda: Modes(1.0), []),
    ],
)
def test_training_and_evaluation_mode(generator: Any, expected: list[str]) -> None:
    assert failures("evaluation_mode", plane(generator=generator)) == expected


class OnePixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()


def test_a_normalisation_of_one_number() -> None:
    pictures = 2 * torch.rand(500, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1

    def discriminator(kernel: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, kernel), OnePixelNorm(), nn.Flatten(), nn.LazyLinear(1))

    for kernel, expected in ((8, ["normalisation"]), (5, [])):
        game = Adversarial(
            lambda: nn.Sequential(mlp(4, 32, 64), nn.Unflatten(1, (1, 8, 8))),
            lambda k=kernel: discriminator(k),
            pictures,
            latent=4,
        )
        findings = findings_of("dead_normalization", game)
        assert [finding.failure for finding in findings] == expected
        assert all("(8, 1, 1)" in finding.evidence for finding in findings)


class HalfOfTheLatents(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(2, 32, 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z[:, :2])


def test_latents() -> None:
    (finding,) = findings_of("latents", plane(generator=HalfOfTheLatents))
    assert finding.failure == "wiring"
    assert "2 of the generator's 4 latents" in finding.evidence
    assert findings_of("latents", plane()) == []
    pictures = torch.randn(500, 64)
    for latent, expected in ((1, ["collapse"]), (16, [])):
        game = Adversarial(lambda n=latent: mlp(n, 32, 64), lambda: mlp(64, 32, 1), pictures, latent=latent)
        assert failures("latents", game) == expected


@pytest.mark.parametrize(
    ("batch", "generator", "expected"),
    [
        (2, None, ["oscillation or limit cycle"]),
        (4, lambda: normed(0.1), ["normalisation"]),
        (1500, None, ["too few data"]),
        (64, lambda: normed(0.1), []),
    ],
)
def test_the_size_of_a_batch(batch: int, generator: Any, expected: list[str]) -> None:
    assert failures("batch_size", plane(PLANE[:1900], generator=generator, batch=batch)) == expected


def test_precision() -> None:
    assert failures("precision", plane(discriminator=lambda: mlp(2, 32, 1).bfloat16())) == ["vanishing gradient"]
    assert failures("precision", plane(discriminator=lambda: mlp(2, 32, 1).double())) == ["wiring"]
    assert failures("precision", plane()) == []


def test_rates_of_other_optimizers() -> None:
    base = methods.alternating()

    def rates(**optimizers: Any) -> list[str]:
        return failures("learning_rates", plane(), methods.Method(base.field, base.scheme, optimizers))

    assert rates(generator=Torch("AdamW", lr=2e-4), discriminator=Torch("AdamW", lr=5e-2)) == [
        "blow-up",
        "discriminator overpowers",
    ]
    assert rates(generator=Torch("SGD", lr=5.0), discriminator=Torch("SGD", lr=5.0)) == ["blow-up"]
    assert rates(generator=Torch("AdamW", lr=2e-4), discriminator=Torch("AdamW", lr=2e-4)) == []
    large = failures("learning_rates", plane(), methods.alternating(learning_rate=Cosine(0.1, 0.0, 1000)))
    assert large == ["blow-up"]
    rotating = methods.simultaneous(learning_rate=5e-3)
    assert failures("learning_rates", plane(), rotating) == []


def test_a_gradient_that_dies_out() -> None:
    def deep(activation: type[nn.Module]) -> nn.Module:
        layers = [nn.Linear(4, 16), activation()]
        for _ in range(9):
            layers += [nn.Linear(16, 16), activation()]
        return nn.Sequential(*layers, nn.Linear(16, 2))

    (finding,) = findings_of("gradient_reach", plane(generator=lambda: deep(nn.Sigmoid)))
    assert finding.failure == "vanishing gradient"
    assert "0.weight" in finding.evidence
    torch.manual_seed(0)
    normed = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    assert findings_of("gradient_reach", plane(generator=normed)) == []


def test_scores_that_cannot_be_negative() -> None:
    (finding,) = findings_of("score_range", plane(discriminator=lambda: mlp(2, 32, 1, last=nn.ReLU())))
    assert finding.failure == "wiring"
    assert "0.6931" in finding.evidence  # log 2, of generated samples
    least_squares = plane(discriminator=lambda: mlp(2, 32, 1, last=nn.ReLU()), objective="least_squares")
    assert findings_of("score_range", least_squares) == []


def of_strength(penalty: Any, scale: float = 1.0, **options: Any) -> list[str]:
    return failures("penalty_strength", plane(scale * PLANE, penalties=penalty, **options))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_penalties_that_do_not_fit_the_size_of_the_data(scale: float) -> None:
    wrong = ["penalty or Lipschitz bound wrong"]
    size = 2**0.5 * scale
    assert of_strength(GradientPenalty(1e-3 * size), scale) == wrong
    assert of_strength(GradientPenalty(1e3 * size), scale) == wrong
    assert of_strength(GradientPenalty(size), scale) == []
    assert of_strength(R1(1e4 * size**2), scale) == wrong
    assert of_strength(Lazy(R1(1e4 * size**2), 4), scale) == wrong
    assert of_strength(R1(0.1 * size**2), scale) == []
    assert of_strength((), scale) == []


@pytest.mark.parametrize(("bound", "wrong"), [(1e-4, True), (1.0, True), (0.05, False), (0.1, False)])
def test_a_clip_that_makes_a_critic_flat_or_bounds_nothing(bound: float, wrong: bool) -> None:
    made = plane(discriminator=lambda: mlp(2, 128, 128, 128, 1), objective="wasserstein")
    expected = ["penalty or Lipschitz bound wrong"] * wrong
    assert failures("clip_bound", made, methods.wasserstein_clipping(bound)) == expected
    assert failures("clip_bound", made, methods.alternating()) == []


def test_the_clip_of_the_paper_fits_its_networks() -> None:
    pictures = 2 * torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    channels = (3, 64, 128, 256, 512)
    layers = [nn.Conv2d(m, n, 4, 2, 1) for m, n in zip(channels, channels[1:], strict=False)]
    maker = nn.Sequential(nn.Linear(4, 3 * 64 * 64), nn.Tanh(), nn.Unflatten(1, (3, 64, 64)))
    critic = nn.Sequential(*layers, nn.Conv2d(512, 1, 4), nn.Flatten())
    made = Adversarial(maker, critic, pictures, latent=4, objective="wasserstein", batch=8)
    assert failures("clip_bound", made, methods.wasserstein_clipping(0.01)) == []


def test_samples_of_a_fixed_mean() -> None:
    def ends_in(*last: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), *last)

    results = [
        inspect(
            Adversarial(lambda last=last: ends_in(*last), lambda: mlp(2, 8, 1), PLANE, latent=4),
            None,
            kinds=["fixed_statistics"],
        )
        for last in ((nn.Softmax(1),), (nn.LayerNorm(2, elementwise_affine=False),), (nn.Tanh(),), ())
    ]
    assert [[finding.failure for finding in each] for each in results] == [
        ["data scale"],
        ["normalisation"],
        [],
        [],
    ]
    assert "Softmax" in results[0][0].evidence


def test_dropout_of_most_units() -> None:
    def judge(share: float) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.Dropout(share), nn.Linear(8, 1))

    heavy, usual = (Adversarial(lambda: mlp(4, 8, 2), lambda p=p: judge(p), PLANE, latent=4) for p in (0.9, 0.5))
    (finding,) = inspect(heavy, None, kinds=["dropout"])
    assert "90%" in finding.evidence and not inspect(usual, None, kinds=["dropout"])


def test_one_sample_and_copies_of_it() -> None:
    for data in (PLANE[:1], PLANE[:1].repeat(300, 1)):
        (finding,) = inspect(
            Adversarial(lambda: mlp(4, 8, 2), lambda: mlp(2, 8, 1), data, latent=4, batch=1),
            None,
            kinds=["sample_count"],
        )
        assert finding.failure == "too few data" and finding.by_hand


def test_a_forward_without_a_graph_can_only_be_mended_by_hand() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.unused, self.last = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, z: Tensor) -> Tensor:
            with torch.no_grad():
                hidden = self.first(z)
            return self.last(hidden.relu())

    class Unused(Cut):
        def forward(self, z: Tensor) -> Tensor:
            return self.last(self.first(z).relu())

    cut, unused = (
        inspect(Adversarial(kind, lambda: mlp(2, 8, 1), PLANE, latent=4), None, kinds=["gradient_reach"])
        for kind in (Cut, Unused)
    )
    assert any(finding.by_hand and "no_grad" in finding.evidence for finding in cut)
    assert not any(finding.by_hand for finding in unused) and "unused" in unused[0].evidence


def test_a_momentum_that_averages_too_long() -> None:
    game = Adversarial(lambda: mlp(4, 8, 2), lambda: mlp(2, 8, 1), PLANE, latent=4)
    results = [
        inspect(game, methods.alternating(learning_rate=1e-3, betas=(beta, 0.999)), kinds=["learning_rates"])
        for beta in (0.999, 0.9)
    ]
    assert [finding.failure for finding in results[0]] == ["oscillation or limit cycle"] and not results[1]


def test_layers_without_a_nonlinearity_between_them() -> None:
    def chain(*sizes: int, last: nn.Module | None = None) -> nn.Module:
        layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
        return nn.Sequential(*layers, *([last] if last else []))

    (maker,) = findings_of("linear_networks", plane(generator=lambda: chain(4, 16, 16, 2)))
    assert maker.failure == "wiring" and "generator's 3 layers" in maker.evidence
    (judge,) = findings_of("linear_networks", plane(discriminator=lambda: chain(2, 32, 1)))
    assert "discriminator's 2 layers" in judge.evidence
    assert failures("linear_networks", plane(generator=lambda: chain(4, 16, 2, last=nn.Tanh()))) == ["wiring"]
    assert failures("linear_networks", plane()) == []
    assert failures("linear_networks", plane(generator=lambda: nn.Linear(4, 2))) == []  # one layer is a choice


class Categories(nn.Module):
    """A generator of a number and a category of three."""

    def __init__(self, choose: Any) -> None:
        super().__init__()
        self.body, self.choose = mlp(4, 32, 4), choose

    def forward(self, z: Tensor) -> Tensor:
        x = self.body(z)
        return torch.cat([x[:, :1], self.choose(x[:, 1:])], 1)


def test_categories_by_argmax() -> None:
    def hard(x: Tensor) -> Tensor:
        return nn.functional.one_hot(x.argmax(1), 3).float()

    table = torch.cat([PLANE[:, :1], hard(torch.randn(len(PLANE), 3))], 1)

    def made(choose: Any) -> Any:
        return plane(table, generator=lambda: Categories(choose), discriminator=lambda: mlp(4, 32, 1))

    (finding,) = findings_of("silent_outputs", made(hard))
    assert finding.failure == "wiring" and finding.by_hand and "3 of the 4 numbers" in finding.evidence
    straight = lambda x: nn.functional.gumbel_softmax(x, hard=True)  # noqa: E731
    for choose in (lambda x: x.softmax(1), straight, lambda x: torch.zeros_like(x)):
        assert failures("silent_outputs", made(choose)) == []
