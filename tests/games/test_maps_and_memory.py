"""GANs with discriminators that return maps or lists, scheduled settings, and memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from detente import autodiff, methods
from detente.data.arrays import Arrays
from detente.errors import InvalidValue
from detente.filters.adaptive_augmentation import AdaptiveAugmentation
from detente.filters.diff_augment import DiffAugment
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.game import EvaluationSettings
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.methods.method import Method
from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from detente.networks.mlp import MLP
from detente.objectives.hinge import Hinge
from detente.objectives.label_smoothing import LabelSmoothing
from detente.penalties.finite_difference_r1 import FiniteDifferenceR1
from detente.penalties.lazy import Lazy
from detente.penalties.le_cam import LeCam
from detente.penalties.r1 import R1
from detente.schedules.linear import Linear
from detente.state import State
from detente.training.step import Steps, draw
from detente.training.stepper import Stepper


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.2), nn.Conv2d(3, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Scales(nn.Module):
    """Two PatchGANs, one at half the resolution, as in pix2pixHD."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = Patches(), Patches()

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.fine(x), self.coarse(avg_pool2d(x, 2))]


def image_gan(discriminator: type[nn.Module] = Scales, **settings: Any) -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))).double()
        judge = discriminator().double()
    images = 2 * torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1
    return Adversarial(generator, judge, images, 3, batch=4, **settings)


def point_gan(**settings: Any) -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        modules = MLP(3, 2, 4, 1).double(), MLP(2, 1, 4, 1).double()
    points = 1 + torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(*modules, points, 3, batch=4, **settings)


def point(game: Adversarial) -> tuple[Any, Any, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    return vectors, buffers, game.draw(generator)


@pytest.mark.parametrize("discriminator", [Patches, Scales])
def test_losses_of_maps_and_lists_equal_the_written_formula(discriminator: type[nn.Module]) -> None:
    game = image_gan(discriminator, objective="hinge", penalties=R1(0.3))
    vectors, buffers, batch = point(game)
    generator, judge = game.modules["generator"], game.modules["discriminator"]
    real = batch["real"].double().requires_grad_()
    fakes, reals = judge(generator(batch["latent"].double())), judge(real)
    if discriminator is Patches:
        fakes, reals = [fakes], [reals]
    (slope,) = torch.autograd.grad(torch.stack([scores.sum() for scores in reals]).sum(), real)
    pairs = list(zip(reals, fakes, strict=True))
    expected = sum(relu(1 - r).mean() + relu(1 + f).mean() for r, f in pairs) + 0.15 * slope.square().sum() / 4
    losses, _ = game.losses(vectors, buffers, batch)
    torch.testing.assert_close(losses["discriminator"], expected)
    torch.testing.assert_close(losses["generator"], -sum(f.mean() for f in fakes))
    state = Method.initial(methods.alternating(), game, torch.Generator().manual_seed(0))
    scores = torch.stack([s.mean((1, 2, 3)) for s in reals]).mean(0)
    torch.testing.assert_close(game.scores(state, batch["real"]), scores.detach())


def test_consensus_with_lists_of_scores_equals_the_loop_when_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # inductor takes seconds a graph
    game, play = (
        image_gan(penalties=[R1(0.3), FiniteDifferenceR1(0.1)], objective="relativistic"),
        methods.consensus(0.1),
    )

    def after(**how: bool) -> list[dict[str, Tensor]]:
        states, draws = [], []
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            states.append(play.initial(game, generator))
            draws.append([draw(game, play, states[-1], generator)])
        steps = Steps(game, play, **how)
        final = [state.flat() for state in steps(states, draws)[0]]
        assert steps.fallback_reason == ""
        return final

    torch.testing.assert_close(after(mapped=True), after(), rtol=1e-9, atol=1e-11)


def test_invalid_score_outputs_are_refused() -> None:
    class Wrong(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind, self.layer = kind, nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Any:
            scores = self.layer(x.flatten(1))
            return {"classes": scores, "single": [scores.mean()], "text": [scores, "features"], "none": []}[self.kind]

    for kind, message in (
        ("classes", r"^discriminator: got 'output of shape \(4, 10\) for 4 samples'.*Maps of scores are"),
        ("single", r"^discriminator: got 'output of shape \(\) for 4 samples'"),
        ("text", r"^discriminator: got \['Tensor', 'str'\]"),
        ("none", r"^discriminator: got \[\]"),
    ):
        with pytest.raises(InvalidValue, match=message):
            image_gan(lambda kind=kind: Wrong(kind))  # type: ignore[arg-type]


def test_a_sigmoid_on_the_second_map_is_found() -> None:
    class Squashed(Scales):
        def forward(self, x: Tensor) -> list[Tensor]:
            fine, coarse = super().forward(x)
            return [fine, coarse.sigmoid()]

    with pytest.raises(InvalidValue, match="^discriminator: got .*does it end in a sigmoid"):
        image_gan(Squashed)


def test_schedules_are_evaluated_at_the_current_step() -> None:
    numbers: list[Any] = [Linear(0.5, 1.0, 10), Linear(0.0, 8.0, 10)]
    game = point_gan(objective=LabelSmoothing(numbers[0]), penalties=[R1(numbers[1]), Lazy(R1(1.0), 3)])
    assert game.scheduled
    vectors, buffers, batch = point(game)
    for t in (0, 4, 6):
        penalties = [R1(0.8 * t), R1(3.0 if t % 3 == 0 else 0.0)]
        plain = point_gan(objective=LabelSmoothing(0.5 + 0.05 * t), penalties=penalties)
        losses = game.losses(vectors, buffers, {**batch, "t": torch.tensor(t)})[0]
        torch.testing.assert_close(losses, plain.losses(vectors, buffers, batch)[0])
    with pytest.raises(InvalidValue, match="^batch: .*'t', since a setting of the game is a schedule"):
        game.losses(vectors, buffers, batch)
    stepper = Stepper(game, methods.extragradient())
    stepper.step()


def test_le_cam_equals_a_hand_written_loop() -> None:
    """Alternating SGD; the anchors change only in the discriminator's turns, and its term uses earlier ones."""
    game = point_gan(objective="hinge", penalties=LeCam(0.5, decay=0.8))
    play, generator = methods.alternating("sgd", 0.05), torch.Generator().manual_seed(0)
    state = play.initial(game, generator)
    networks = {"generator": MLP(3, 2, 4, 1).double(), "discriminator": MLP(2, 1, 4, 1).double()}
    game.write(state, networks["generator"], networks["discriminator"])
    optimizers = {name: torch.optim.SGD(module.parameters(), 0.05) for name, module in networks.items()}
    sums, weight = torch.zeros(2).double(), 0.0
    for _ in range(5):
        drawn = draw(game, play, state, generator)
        state, info = play.step(game, state, drawn.batches, drawn.noise)
        for name, batch in zip(("discriminator", "generator"), drawn.batches, strict=True):
            fake = networks["discriminator"](networks["generator"](batch["latent"].double())).flatten()
            loss = -fake.mean()
            if name == "discriminator":
                real = networks["discriminator"](batch["real"].double()).flatten()
                loss = relu(1 - real).mean() + relu(1 + fake).mean()
                if weight:
                    anchor_real, anchor_fake = sums / weight
                    loss = loss + 0.5 * (
                        relu(real - anchor_fake).square().mean() + relu(anchor_real - fake).square().mean()
                    )
                means = torch.stack([real.mean(), fake.mean()]).detach()
                sums, weight = 0.8 * sums + 0.2 * means, 0.8 * weight + 0.2
            torch.testing.assert_close(info.losses[name], loss.detach())
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
    anchors = state.buffers["memory"]["penalty0.anchors"]
    torch.testing.assert_close(anchors, torch.cat([sums, torch.tensor([weight]).double()]))
    assert "penalty0.anchors" in game.randomness


def test_the_adaptive_strength_in_training_and_after_a_resume() -> None:
    """The strength rises by images/length at every second evaluation; states continue exactly."""
    game = image_gan(Patches, filter=AdaptiveAugmentation(DiffAugment(), target=-1.0, length=64, interval=2))
    play, generator = methods.alternating("sgd", 0.01), torch.Generator().manual_seed(0)
    state, path = play.initial(game, generator), []
    for step in range(6):
        drawn = draw(game, play, state, generator)
        if step == 4:
            again = State.from_flat({name: tensor.clone() for name, tensor in state.flat().items()}, state)
            expected = copy.deepcopy(drawn)
        state, _ = play.step(game, state, drawn.batches, drawn.noise)
        if step == 4:
            resumed, _ = play.step(game, again, expected.batches, expected.noise)
            torch.testing.assert_close(resumed.flat(), state.flat(), rtol=0, atol=0)
        path.append(float(state.buffers["memory"]["filter.augmentation"][0]))
    assert path == [0.0, 0.125, 0.125, 0.25, 0.25, 0.375]
    # With p = ¼ the losses are those of DiffAugment with this probability.
    vectors, buffers, batch = point(game)
    memory = {"filter.augmentation": torch.tensor([0.25, 0.0, 0.0, 0.0]).double()}
    fixed = image_gan(Patches, filter=DiffAugment(strengths=0.25))
    losses = game.losses(vectors, {**buffers, "memory": memory}, batch)[0]
    torch.testing.assert_close(losses, fixed.losses(vectors, buffers, batch)[0])


@pytest.mark.parametrize(
    ("method", "how"),
    [("consensus", {"mapped": True}), ("alternating", {"mapped": True}), ("alternating", {"compiled": True})],
)
def test_mapped_and_traced_steps_with_memory_equal_the_loop(
    method: str, how: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # inductor takes seconds a graph
    adaptive = AdaptiveAugmentation(GaussianSmoothing(), length=40, interval=1)
    game = point_gan(penalties=[LeCam(0.5, 0.8), Lazy(LeCam(), 2)], filter=adaptive)
    play = getattr(methods, method)()

    def after(**how: bool) -> list[dict[str, Tensor]]:
        states, draws = [], []
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            state = play.initial(game, generator)
            drawn = draw(game, play, state, generator)
            states.append(play.step(game, state, drawn.batches, drawn.noise)[0])  # from here on there are anchors
            draws.append([draw(game, play, states[-1], generator)])
        steps = Steps(game, play, **how)
        final = [state.flat() for state in steps(states, draws)[0]]
        assert steps.fallback_reason == ""
        return final

    eager = after()
    assert all(float(state["buffers/memory/penalty0.anchors"][2]) > 0.3 for state in eager)
    torch.testing.assert_close(after(**how), eager, rtol=1e-8, atol=1e-10)


def test_penalties_of_scores_need_no_second_derivative() -> None:
    """A function that is marked once_differentiable is refused under R1, and trained right by finite differences."""

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * gradient

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = MLP(2, 1, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return Double.apply(self.network(x))

    points = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    for penalty in (FiniteDifferenceR1(), LeCam(), Lazy(LeCam())):
        game = Adversarial(MLP(3, 2, 4, 1), Judge(), points, 3, batch=4, penalties=penalty)
        stepper = Stepper(game, methods.alternating())
        stepper.step()
        vectors, buffers, batch = point(game)
        field = autodiff.vector_field(game, vectors, buffers, game.with_step(batch, torch.tensor(0))).field
        assert all(bool(block.any()) for block in field.values())
    with pytest.raises(InvalidValue, match="once_differentiable"):
        Stepper(Adversarial(MLP(3, 2, 4, 1), Judge(), points, 3, batch=4, penalties=R1()), methods.alternating()).step()


def test_a_list_of_one_score_equals_a_plain_score_bit_for_bit() -> None:
    """A score in a list of one is the plain discriminator: losses, gradients and buffers."""

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = MLP(2, 1, 4, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.network(x)]

    plain = point_gan(objective=Hinge(), penalties=R1())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = MLP(3, 2, 4, 1).double()
        listed = Adversarial(generator, Listed().double(), plain.data, 3, Hinge(), R1(), batch=4)
    vectors, buffers, batch = point(plain)
    evaluations = [autodiff.vector_field(game, vectors, buffers, batch) for game in (plain, listed)]
    for name in plain.players:
        assert torch.equal(evaluations[0].field[name], evaluations[1].field[name])
        assert torch.equal(evaluations[0].losses[name], evaluations[1].losses[name])


@pytest.mark.filterwarnings("ignore:data scale")  # as the set-up deserves
def test_le_cam_reads_the_scores_of_the_batch() -> None:
    """Generated samples with their own labels and their own noise, and no further calls of the discriminator."""
    images, labels = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5, torch.arange(16) % 2
    with torch.random.fork_rng():
        torch.manual_seed(1)
        modules = (
            ConditionalGenerator(3, 2, 1, 4, 3, 4, 5).double(),
            ConditionalDiscriminator(2, 1, 4, 3, 2, 4).double(),
        )
    parts: dict[str, Any] = {"filter": GaussianSmoothing(0.5), "batch": 4}
    plain = Conditional(*modules, Arrays(images, labels), 3, **parts)
    game = Conditional(*modules, Arrays(images, labels), 3, penalties=LeCam(2.0), **parts)
    vectors, buffers, batch = point(game)
    anchors = torch.tensor([0.3, -0.2, 0.5]).double()
    real = batch["real"].double() + 0.5 * batch["filter.real.noise"].double()
    fake = game.modules["generator"](batch["latent"].double(), batch["fake_label"])
    fake = game.modules["discriminator"](
        fake + 0.5 * batch["filter.fake.noise"].double(), batch["fake_label"]
    ).flatten()
    real = game.modules["discriminator"](real, batch["label"]).flatten()
    expected = 2 * (relu(real + 0.4).square().mean() + relu(0.6 - fake).square().mean())
    loss = game.losses(vectors, {**buffers, "memory": {"penalty0.anchors": anchors}}, batch)[0]["discriminator"]
    torch.testing.assert_close(loss - plain.losses(vectors, buffers, batch)[0]["discriminator"], expected)


def test_anchors_with_gradient_accumulation_equal_those_of_the_whole_batch() -> None:
    game = point_gan(penalties=LeCam(0.5))
    vectors, buffers, batch = point(game)
    buffers = {**buffers, "memory": {"penalty0.anchors": torch.tensor([0.3, -0.2, 0.5]).double()}}
    in_parts = game.with_settings(EvaluationSettings(accumulate=2))
    evaluations = [autodiff.vector_field(variant, vectors, buffers, batch) for variant in (in_parts, game)]
    torch.testing.assert_close(evaluations[0].buffers["memory"], evaluations[1].buffers["memory"])
    torch.testing.assert_close(evaluations[0].field, evaluations[1].field)
