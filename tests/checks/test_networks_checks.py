"""Checks of games whose losses are the user's own, `Networks`: players of any names, found by what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, softplus
from torch.utils.data import DataLoader, Dataset, TensorDataset

from detente import Adversarial, Networks, methods
from detente.checks import off
from detente.checks.base import Finding, Setup, inspect
from detente.games.presets.changes import changed
from detente.optimizers.clipped import Clipped
from detente.optimizers.rmsprop import RMSprop
from detente.registry import members

GENERATOR = torch.Generator().manual_seed(0)
PICTURES = 2 * torch.rand(1000, 1, 8, 8, generator=GENERATOR) - 1
PLANE = torch.randn(2000, 2, generator=GENERATOR)


def found(check: str, game: Any, method: Any = None) -> list[Finding]:
    return list(members("checks")[check]()(Setup(game, method)))


def failures(check: str, game: Any, method: Any = None) -> list[str]:
    return [finding.failure for finding in found(check, game, method)]


def painter(inputs: int = 16, last: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 64), last or nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
    )


def judge(*last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), *last)


def zero_centred(net: Any, real: Tensor) -> Tensor:
    return 5 * net.judge.slope(real).square().mean()


def game(
    judge_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    painter_loss: Callable[[Tensor], Tensor] | None = None,
    make_judge: Callable[[], nn.Module] = judge,
    penalty: Callable[[Any, Tensor, Tensor], Tensor] | None = None,
    data: Any = None,
    **options: Any,
) -> Networks:
    """Return a game of a painter and a judge; by default, its losses are the non-saturating ones."""
    judge_loss = judge_loss or (lambda real, fake: softplus(-real).mean() + softplus(fake).mean())
    painter_loss = painter_loss or (lambda fake: softplus(-fake).mean())

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        real = batch["x"]
        made = net.painter(batch["z"])
        of_real, of_fake = net.judge(real), net.judge(made)
        loss = judge_loss(of_real, of_fake)
        return {
            "painter": painter_loss(of_fake),
            "judge": loss if penalty is None else loss + penalty(net, real, made),
        }

    rows = data or {"x": PICTURES, "z": torch.randn(1000, 16, generator=torch.Generator().manual_seed(1))}
    return Networks({"painter": painter, "judge": make_judge}, losses, data=rows, batch=32, **options)


def wasserstein(**options: Any) -> Networks:
    return game(lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean(), **options)


def interpolated(slope: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """Return a penalty written by hand: (slope − 1)² between real and generated pictures."""

    def penalty(net: Any, real: Tensor, made: Tensor) -> Tensor:
        between = 0.5 * (real + made)
        return 10 * (slope(net.judge.gradient(between)) - 1).square().mean()

    return penalty


EACH = interpolated(lambda gradient: gradient.flatten(1).norm(dim=1))


@pytest.mark.parametrize(
    "make",
    [
        game,
        lambda: game(penalty=lambda net, real, made: zero_centred(net, real)),
        lambda: wasserstein(penalty=EACH),
        lambda: game(
            lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
            lambda fake: (fake - 1).square().mean(),
        ),
        lambda: game(  # Pearson's: targets −1, 1 and 0
            lambda real, fake: (real - 1).square().mean() + (fake + 1).square().mean(),
            lambda fake: fake.square().mean(),
        ),
        lambda: game(
            lambda real, fake: (
                binary_cross_entropy(real, torch.ones_like(real)) + binary_cross_entropy(fake, torch.zeros_like(fake))
            ),
            lambda fake: binary_cross_entropy(fake, torch.ones_like(fake)),
            lambda: judge(nn.Sigmoid()),
        ),
        lambda: game(lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(), lambda fake: -fake.mean()),
    ],
    ids=["logistic", "zero-centred penalty", "WGAN-GP", "least squares", "Pearson", "probabilities", "hinge"],
)
def test_healthy_networks_are_left_in_peace(make: Callable[[], Networks]) -> None:
    assert inspect(make(), methods.alternating()) == []


def test_a_sigmoid_twice() -> None:
    def twice(scores: Tensor, target: float) -> Tensor:
        return binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))

    broken = game(
        lambda real, fake: twice(real, 1) + twice(fake, 0), lambda fake: twice(fake, 1), lambda: judge(nn.Sigmoid())
    )
    (finding,) = found("score_range", broken)
    assert finding.failure == "wiring"
    assert "1.006" in finding.evidence  # log(1 + 1/e) + log 2
    assert failures("score_range", game(make_judge=lambda: judge(nn.Tanh()))) == ["wiring"]
    assert failures("score_range", game()) == []


def test_losses_that_pull_the_same_way() -> None:
    same = game(painter_loss=lambda fake: softplus(fake).mean())
    (finding,) = found("opposing_losses", same)
    assert finding.failure == "wiring"
    assert "sign of the painter's loss" in finding.remedy
    both_real = game(lambda real, fake: softplus(-real).mean() + softplus(-fake).mean())
    assert "same direction" in found("opposing_losses", both_real)[0].evidence
    only_fake = game(lambda real, fake: softplus(fake).mean() + 0 * real.mean())
    assert "real samples" in found("opposing_losses", only_fake)[0].evidence


def test_a_detached_score() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        made = net.painter(batch["z"])
        of_fake, of_real = net.judge(made), net.judge(batch["x"])
        own = softplus(-net.judge(made.detach())).mean() + 0.1 * made.abs().mean()
        return {"painter": own, "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

    rows = {"x": PICTURES, "z": torch.randn(1000, 16)}
    broken = Networks({"painter": painter, "judge": judge}, losses, data=rows, batch=32)
    assert [f.failure for f in found("gradient_reach", broken) if "same for all scores" in f.evidence] == ["wiring"]
    assert found("gradient_reach", game()) == []


def test_a_critic_that_nothing_bounds() -> None:
    plain = methods.alternating()
    (finding,) = found("unbounded_critic", wasserstein(), plain)
    assert finding.failure == "unbounded critic"
    assert found("unbounded_critic", game(), plain) == []
    assert found("unbounded_critic", wasserstein(penalty=EACH), plain) == []
    decay = wasserstein(penalty=lambda net, real, made: sum(p.square().sum() for p in net.parameters("judge").values()))
    assert found("unbounded_critic", decay, plain) == []
    clipped = methods.Method(
        plain.field, plain.scheme, {"painter": RMSprop(5e-5), "judge": Clipped(RMSprop(5e-5), 0.01)}
    )
    assert found("unbounded_critic", wasserstein(), clipped) == []

    def normalised() -> nn.Module:
        module = judge()
        for layer in module.children():
            if isinstance(layer, nn.Linear):
                nn.utils.parametrizations.spectral_norm(layer)
        return module

    assert found("unbounded_critic", wasserstein(make_judge=normalised), plain) == []
    with off():
        library = Adversarial(painter, judge, PICTURES, latent=16, objective="wasserstein")
    assert failures("unbounded_critic", library, plain) == ["unbounded critic"]
    assert found("unbounded_critic", library, methods.wasserstein_clipping()) == []


@pytest.mark.parametrize(
    ("slope", "text"),
    [
        (lambda gradient: gradient.norm(dim=1), "√64"),  # over the channel only
        (lambda gradient: gradient.norm(), "1/√32"),  # over the whole batch
        (lambda gradient: gradient.flatten(1).square().mean(1).sqrt(), "√64"),  # the root mean square
    ],
)
def test_a_penalty_over_wrong_axes(slope: Callable[[Tensor], Tensor], text: str) -> None:
    (finding,) = [f for f in found("penalty_slope", wasserstein(penalty=interpolated(slope))) if "least" in f.evidence]
    assert finding.failure == "penalty or Lipschitz bound wrong"
    assert text in finding.evidence
    assert found("penalty_slope", wasserstein(penalty=EACH)) == []


def test_a_penalty_without_epsilon() -> None:
    root = interpolated(lambda gradient: gradient.flatten(1).square().sum(1).sqrt())
    (finding,) = found("penalty_slope", wasserstein(penalty=root))
    assert "NaN" in finding.evidence
    safe = interpolated(lambda gradient: (gradient.flatten(1).square().sum(1) + 1e-12).sqrt())
    assert found("penalty_slope", wasserstein(penalty=safe)) == []


def mixed_game(make_judge: Callable[[], nn.Module]) -> Networks:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        made, count = net.painter(batch["z"]), len(batch["x"])
        scores = net.judge(torch.cat([batch["x"], made]))
        both = softplus(-scores[:count]).mean() + softplus(scores[count:]).mean()
        return {"painter": lambda: softplus(-net.judge(made)).mean(), "judge": both}

    rows = {"x": PICTURES, "z": torch.randn(1000, 16)}
    return Networks({"painter": painter, "judge": make_judge}, losses, data=rows, batch=32)


def normed_judge() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


def test_real_and_generated_samples_in_one_batch() -> None:
    (finding,) = found("batch_mates", mixed_game(normed_judge))
    assert finding.failure == "normalisation"
    assert "32 and 32" in finding.evidence
    assert found("batch_mates", mixed_game(judge)) == []
    assert found("batch_mates", game(make_judge=normed_judge)) == []  # apart, as in DCGAN


def test_labels_among_the_inputs_of_networks() -> None:
    class Painter(nn.Module):
        def __init__(self, uses: bool) -> None:
            super().__init__()
            self.body, self.embed, self.uses = painter(), nn.Embedding(5, 16), uses

        def forward(self, z: Tensor, label: Tensor) -> Tensor:
            return self.body(z + self.embed(label) * self.uses)

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        made = net.painter(batch["z"], batch["label"])
        of_real, of_fake = net.judge(batch["x"]), net.judge(made)
        return {"painter": softplus(-of_fake).mean(), "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

    rows = {"x": PICTURES, "z": torch.randn(1000, 16), "label": torch.arange(1000) % 5}
    for uses, expected in ((False, ["labels ignored"]), (True, [])):
        made = Networks({"painter": lambda u=uses: Painter(u), "judge": judge}, losses, data=rows, batch=32)
        assert failures("ignored_labels", made) == expected


def test_data_in_sorted_order() -> None:
    classes = PICTURES + 3 * torch.linspace(-1, 1, 1000)[:, None, None, None]
    pairs = TensorDataset(classes, torch.randn(1000, 16))

    def streamed(shuffle: bool) -> Networks:
        loader = DataLoader(pairs, batch_size=32, shuffle=shuffle, drop_last=True)

        def losses(net: Any, batch: Any) -> dict[str, Any]:
            of_real, of_fake = net.judge(batch[0]), net.judge(net.painter(batch[1]))
            return {"painter": softplus(-of_fake).mean(), "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

        return Networks({"painter": painter, "judge": judge}, losses, data=loader)

    assert failures("data_order", streamed(False)) == ["sampling"]
    assert failures("data_order", streamed(True)) == []


def test_a_stream_without_a_set_in_sorted_order() -> None:
    levels = torch.linspace(-3, 3, 40)

    class Sorted:
        def __iter__(self) -> Any:
            return ((level + PICTURES[:32], torch.randn(32, 16)) for level in levels)

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        of_real, of_fake = net.judge(batch[0]), net.judge(net.painter(batch[1]))
        return {"painter": softplus(-of_fake).mean(), "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

    made = Networks({"painter": painter, "judge": judge}, losses, data=Sorted())
    assert failures("data_order", made) == ["sampling"]
    assert failures("data_order", changed(made, shuffle=True)) == []


def test_checks_take_no_batch_from_training() -> None:
    batches = iter([(PICTURES[:32], torch.randn(32, 16)) for _ in range(3)])

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        of_real, of_fake = net.judge(batch[0]), net.judge(net.painter(batch[1]))
        return {"painter": softplus(-of_fake).mean(), "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

    once = Networks({"painter": painter, "judge": judge}, losses, data=batches)
    inspect(once, methods.alternating())
    generator = torch.Generator().manual_seed(0)
    assert len([once.draw(generator) for _ in range(3)]) == 3


class Augmented(Dataset):
    """Pictures with noise from the global generator, as random transforms draw it."""

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return PICTURES[index] + 0.1 * torch.randn(1, 8, 8), torch.randn(16)


def test_checks_leave_random_numbers_alone() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        of_real, of_fake = net.judge(batch[0]), net.judge(net.painter(batch[1]))
        return {"painter": softplus(-of_fake).mean(), "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

    def dropping() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.5), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    loader = DataLoader(Augmented(), batch_size=32, shuffle=True)
    streamed = Networks({"painter": painter, "judge": dropping}, losses, data=loader)
    before = torch.get_rng_state()
    inspect(streamed, methods.alternating())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("strength", "target", "wrong"), [(1.0, 1, False), (1e5, 1, True), (1e-3, 1, True), (1e5, 0, True)]
)
def test_the_strength_of_a_penalty_of_ones_own(strength: float, target: int, wrong: bool) -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        of_real, of_fake = net.judge(batch["x"]), net.judge(net.painter(batch["z"]))
        slope = net.judge.gradient(batch["x"]).flatten(1).square().sum(1).add(1e-12).sqrt()
        return {
            "painter": -of_fake.mean(),
            "judge": of_fake.mean() - of_real.mean() + strength * (slope - target).square().mean(),
        }

    rows = {"x": PICTURES, "z": torch.randn(1000, 16)}
    made = Networks({"painter": painter, "judge": judge}, losses, data=rows, batch=32)
    assert failures("penalty_strength", made) == ["penalty or Lipschitz bound wrong"] * wrong


def test_batches_that_repeat() -> None:
    fixed = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))

    def repeating(latents: bool, real: bool) -> Networks:
        def draw(generator: torch.Generator) -> dict[str, Tensor]:
            rows = torch.randint(1000, (32,), generator=generator)
            noise = torch.randn(32, 16, generator=generator)
            return {"x": PICTURES[:32] if real else PICTURES[rows], "z": fixed if latents else noise}

        def losses(net: Any, batch: Any) -> dict[str, Any]:
            of_real, of_fake = net.judge(batch["x"]), net.judge(net.painter(batch["z"]))
            return {"painter": softplus(-of_fake).mean(), "judge": softplus(-of_real).mean() + softplus(of_fake).mean()}

        return Networks({"painter": painter, "judge": judge}, losses, data=draw)

    assert failures("repeated_batches", repeating(False, False)) == []
    assert [f.evidence[:25] for f in found("repeated_batches", repeating(True, False))] == ["The painter gets the same"]
    assert [f.evidence[:25] for f in found("repeated_batches", repeating(False, True))] == ["Every batch contains the "]


def test_a_loss_with_labels_that_the_generator_does_not_get() -> None:
    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.score, self.classes = nn.Linear(64, 32), nn.Linear(32, 1), nn.Linear(32, 5)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            hidden = torch.tanh(self.body(x.flatten(1)))
            return self.score(hidden), self.classes(hidden)

    def with_classes(weight: float) -> Networks:
        def losses(net: Any, batch: Any) -> dict[str, Any]:
            (of_real, real_class), (of_fake, fake_class) = net.judge(batch["x"]), net.judge(net.painter(batch["z"]))
            own = softplus(-of_fake).mean() + weight * cross_entropy(fake_class, batch["label"])
            judged = softplus(-of_real).mean() + softplus(of_fake).mean()
            return {"painter": own, "judge": judged + cross_entropy(real_class, batch["label"])}

        rows = {"x": PICTURES, "z": torch.randn(1000, 16), "label": torch.arange(1000) % 5}
        return Networks({"painter": painter, "judge": Judge}, losses, data=rows, batch=32)

    assert failures("ignored_labels", with_classes(1.0)) == ["labels ignored"]
    assert failures("ignored_labels", with_classes(0.0)) == []


def test_a_wasserstein_critic_that_ends_in_a_sigmoid() -> None:
    made = game(lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean(), lambda: judge(nn.Sigmoid()))
    assert failures("score_range", made) == ["wiring"]
    assert list(members("checks")["unbounded_critic"]()(Setup(made, methods.alternating()))) == []


def test_real_samples_in_other_units_than_generated_ones() -> None:
    def losses(scale: float) -> Any:
        def made(net: Any, batch: Any) -> dict[str, Tensor]:
            real, fake = net.judge(scale * batch["real"]), net.judge(net.maker(torch.randn(len(batch["real"]), 4)))
            soft = nn.functional.softplus
            return {"maker": soft(-fake).mean(), "judge": soft(-real).mean() + soft(fake).mean()}

        return made

    players = {"maker": lambda: nn.Linear(4, 2), "judge": lambda: nn.Linear(2, 1)}
    games = [Networks(players, losses(scale), PLANE, batch=16) for scale in (20.0, 1.1, 1.0)]
    assert [[f.failure for f in found("sample_units", game)] for game in games] == [["data scale", "wiring"], [], []]
    assert "multiplied by 20" in found("sample_units", games[0])[0].evidence


def test_generated_samples_in_other_units_than_real_ones() -> None:
    def losses(of_real: Callable[[Tensor], Tensor], of_made: Callable[[Tensor], Tensor]) -> Any:
        def made(net: Any, batch: Any) -> dict[str, Tensor]:
            real = net.judge(of_real(batch["real"]))
            fake = net.judge(of_made(net.maker(torch.randn(len(batch["real"]), 4))))
            return {"maker": softplus(-fake).mean(), "judge": softplus(-real).mean() + softplus(fake).mean()}

        return made

    def unchanged(x: Tensor) -> Tensor:
        return x

    def halved(x: Tensor) -> Tensor:
        return (x + 1) / 2

    players = {"maker": lambda: nn.Linear(4, 2), "judge": lambda: nn.Linear(2, 1)}
    pairs = ((unchanged, halved), (halved, halved), (lambda x: x + 5, unchanged))
    games = [Networks(players, losses(*pair), PLANE, batch=16) for pair in pairs]
    assert [[f.failure for f in found("sample_units", game)] for game in games] == [
        ["data scale", "wiring"],
        [],
        ["data scale", "wiring"],
    ]
    assert "as they are, but generated samples multiplied by 0.5" in found("sample_units", games[0])[0].evidence


def test_batches_that_are_normalised_by_themselves() -> None:
    def drawing(count: int, normalise: Callable[[Tensor], Tensor], rows: Tensor = PLANE) -> Networks:
        def draw(generator: torch.Generator) -> dict[str, Tensor]:
            x = normalise(rows[torch.randint(len(rows), (count,), generator=generator)])
            return {"x": x, "z": torch.randn(count, 16, generator=generator)}

        makes_points = rows is PLANE
        players = {
            "painter": (lambda: nn.Linear(16, 2)) if makes_points else painter,
            "judge": (lambda: nn.Linear(2, 1)) if makes_points else judge,
        }

        def losses(net: Any, batch: Any) -> dict[str, Tensor]:
            real, fake = net.judge(batch["x"]), net.judge(net.painter(batch["z"]))
            return {"painter": softplus(-fake).mean(), "judge": softplus(-real).mean() + softplus(fake).mean()}

        return Networks(players, losses, draw)

    def standardised(x: Tensor) -> Tensor:
        return (x - x.mean(0)) / x.std(0)

    (few,) = found("batch_statistics", drawing(4, standardised))
    assert (few.failure, few.certainty, few.by_hand) == ("normalisation", 0.85, True) and "35%" in few.evidence
    (many,) = found("batch_statistics", drawing(64, lambda x: x - x.mean(0)))
    assert many.certainty == 0.45 and not many.by_hand
    (pictures,) = found("batch_statistics", drawing(8, lambda x: (x - x.mean()) / x.std(), PICTURES))
    assert "all numbers" in pictures.evidence
    for count, normalise in ((4, lambda x: x), (64, lambda x: (x - 1) / 3), (4, lambda x: x / x.norm(dim=1)[:, None])):
        assert found("batch_statistics", drawing(count, normalise)) == []
    each = drawing(8, lambda x: x - x.mean((1, 2, 3), keepdim=True), PICTURES)
    assert found("batch_statistics", each) == [] and found("batch_statistics", game()) == []
    whole = PLANE[:16]
    shuffled = drawing(16, lambda x: whole[torch.randperm(16, generator=torch.Generator().manual_seed(int(x[0, 0])))])
    assert found("batch_statistics", shuffled) == []


def test_samples_that_are_judged_with_other_labels() -> None:
    class Labelled(nn.Module):
        def __init__(self, size: int, out: int) -> None:
            super().__init__()
            self.layer, self.labels = nn.Linear(size, out), nn.Embedding(3, out)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.layer(x) + self.labels(y)

    def losses(judged: Callable[[Tensor], Tensor]) -> Any:
        def made(net: Any, batch: Any) -> dict[str, Tensor]:
            drawn = torch.randint(3, (16,))
            fake = net.judge(net.maker(torch.randn(16, 4), drawn), judged(drawn))
            real = net.judge(batch["real"], batch["label"])
            return {"maker": softplus(-fake).mean(), "judge": softplus(-real).mean() + softplus(fake).mean()}

        return made

    def draw(generator: torch.Generator) -> dict[str, Tensor]:
        indices = torch.randint(2000, (16,), generator=generator)
        return {"real": PLANE[indices], "label": torch.randint(3, (16,), generator=generator)}

    players = {"maker": lambda: Labelled(4, 2), "judge": lambda: Labelled(2, 1)}
    assert failures("ignored_labels", Networks(players, losses(lambda drawn: drawn), draw)) == []
    for judged in (lambda drawn: torch.randint(3, (16,)), torch.zeros_like):
        (finding,) = found("ignored_labels", Networks(players, losses(judged), draw))
        assert finding.failure == "labels ignored" and finding.by_hand
