"""bfloat16 arithmetic and gradient accumulation change the cost of a step, not its result."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import detente
from detente import cli, methods
from detente.autodiff import Evaluation, vector_field, vector_jacobian
from detente.autodiff.accumulation import parts_of
from detente.cli import configuration, recorded_runs
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.fields.consensus import Consensus
from detente.fields.smoothing import Smoothing
from detente.game import Batch, Buffers, EvaluationSettings, Vectors
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.modules.calling import copied
from detente.networks.spectral_norm import spectral_norm
from detente.optimizers.sgd import SGD
from detente.schemes.simultaneous import Simultaneous
from detente.state import State, flatten
from detente.training.loop import _measure, applicable, train
from detente.training.run import Run
from tests.refusals import Refusals, expected, refusal
from tests.training.small_runs import (
    EVERY,
    assert_same_bits,
    discriminator,
    generator,
    last,
    record,
    ring,
    saved,
)

PLAIN = methods.alternating("sgd", 0.05)


def pictures(middle: Callable[[int], nn.Module] = nn.BatchNorm2d, batch: int = 8) -> Adversarial:
    """Small images between convolutions."""

    def make_generator() -> nn.Module:
        up = [nn.Linear(3, 32), nn.Unflatten(1, (8, 2, 2)), middle(8), nn.ReLU()]
        return nn.Sequential(*up, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())

    def make_discriminator() -> nn.Module:
        down = [nn.Conv2d(3, 8, 3, 1, 1), middle(8), nn.LeakyReLU(0.2)]
        return nn.Sequential(*down, nn.Conv2d(8, 1, 4), nn.Flatten(0))

    images = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(5)) * 2 - 1
    return Adversarial(make_generator, make_discriminator, images, latent=3, batch=batch)


def in_float64(game: Adversarial) -> Adversarial:
    builders = game.builders
    modules = {name: (lambda build=build: build().double()) for name, build in builders.items()}
    return Adversarial(modules["generator"], modules["discriminator"], game.data, latent=game.latent, batch=game.batch)


def point(game: Adversarial) -> tuple[Vectors, Buffers, Batch]:
    generator = torch.Generator().manual_seed(4)
    return *game.initial(generator), game.draw(generator)


def tensors_of(evaluation: Evaluation, product: Vectors | None = None) -> dict[str, Tensor]:
    tree = {"field": evaluation.field, "losses": evaluation.losses, "product": product or {}}
    return flatten(tree)


# ---- bfloat16 ------------------------------------------------------------------------------------------------------


GAMES: dict[str, Callable[[], Adversarial]] = {
    "points": ring,
    "penalty": lambda: ring(batch_norm=False, penalty=True),
    "pictures": pictures,
    "pictures without mixing": lambda: pictures(lambda _: nn.Identity()),
    "spectral norm": lambda: Adversarial(generator, lambda: spectral_norm(discriminator()), Ring(), latent=3, batch=8),
    "torch's spectral norm": lambda: Adversarial(
        generator,
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 6)), nn.ReLU(), nn.Linear(6, 1)),
        Ring(),
        latent=3,
        batch=8,
    ),
}


@pytest.mark.parametrize("name", GAMES)
def test_bfloat16_gradients_are_close_and_everything_else_is_float32(name: str) -> None:
    game = GAMES[name]()
    vectors, buffers, batch = point(game)
    exact = vector_field(game, vectors, buffers, batch)
    exact_product = vector_jacobian(game, vectors, buffers, batch)[1]
    short = game.with_settings(EvaluationSettings("bfloat16"))
    near = vector_field(short, vectors, buffers, batch)
    near_product = vector_jacobian(short, vectors, buffers, batch)[1]
    actual, expected = tensors_of(near, near_product), tensors_of(exact, exact_product)
    for key, tensor in expected.items():
        assert actual[key].dtype == tensor.dtype == torch.float32
        distance = float((actual[key] - tensor).norm() / tensor.norm())
        assert 0 < distance < (0.2 if key.startswith("product") else 0.1), (key, distance)
    for key, buffer in flatten(exact.buffers).items():
        assert flatten(near.buffers)[key].dtype == buffer.dtype
        torch.testing.assert_close(flatten(near.buffers)[key], buffer, rtol=0.02, atol=0.02)
    assert_same_bits(tensors_of(vector_field(game, vectors, buffers, batch)), tensors_of(exact))


def under_autocast(game: Adversarial, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[Vectors, Vectors]:
    """Return gradients and losses of a hand-written loop under torch's autocast."""
    generator, discriminator = (copied(game.modules[player]) for player in game.players)
    game.write(State(torch.zeros(()), vectors, buffers), generator, discriminator)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        fake = generator(batch["latent"])
        real_scores, fake_scores = discriminator(batch["real"]), discriminator(fake.float())
    real_scores, fake_scores = real_scores.float().flatten(), fake_scores.float().flatten()
    losses = {
        "generator": game.objective.generator_loss(real_scores, fake_scores),
        "discriminator": game.objective.discriminator_loss(real_scores, fake_scores),
    }
    gradients = {}
    for player, module in (("generator", generator), ("discriminator", discriminator)):
        module.zero_grad()
        losses[player].backward(retain_graph=True)
        named = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        gradients[player] = game.layouts[player].flatten(named)
    return gradients, {player: loss.detach() for player, loss in losses.items()}


def test_bfloat16_gradients_equal_those_of_a_hand_written_loop() -> None:
    game = GAMES["points"]()
    gradients, losses = under_autocast(game, *point(game))
    evaluation = vector_field(game.with_settings(EvaluationSettings("bfloat16")), *point(game))
    torch.testing.assert_close(evaluation.field, gradients, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(evaluation.losses, losses)


def test_modules_run_in_bfloat16_and_losses_in_float32() -> None:
    dtypes: list[torch.dtype] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            dtypes.append(x.dtype)
            return x

    game = Adversarial(lambda: generator(Spy()), discriminator, Ring(), latent=3, batch=8)
    vectors, buffers, batch = point(game)
    dtypes.clear()
    short = game.with_settings(EvaluationSettings("bfloat16"))
    loss = short.losses(vectors, buffers, batch)[0]["generator"]
    game.losses(vectors, buffers, batch)
    assert dtypes == [torch.bfloat16, torch.float32] and loss.dtype == torch.float32


def test_metrics_are_measured_in_float32() -> None:
    run = Run(ring(), PLAIN, 6, (0, 1), precision="bfloat16", compile="off", samples=32)
    tick = list(train(run))[-1]
    scores = _measure(replace(run, precision="float32"), applicable(run.game), tick.progress)
    exact = {seed: {name: score.value for name, score in by_name.items()} for seed, by_name in scores.items()}
    assert tick.metrics == exact and all(exact.values())
    plain = list(train(replace(run, precision="float32")))[-1]
    vectors = [progress.state.vectors["generator"] for progress in (tick.progress[0], plain.progress[0])]
    assert 0 < (vectors[0] - vectors[1]).norm() < 0.05 * vectors[1].norm()


def test_precision_of_a_stepper_equals_that_of_a_run() -> None:
    game, seeded = ring(batch_norm=False), 2
    stepper = detente.Stepper(game, PLAIN, seed=seeded, precision="bfloat16", accumulate=2)
    for _ in range(3):
        stepper.step()
    run = Run(game, PLAIN, 3, (seeded,), precision="bfloat16", accumulate=2, compile="off", samples=1)
    actual = {f"{seeded}/{key}": tensor for key, tensor in stepper.state.flat().items()}
    expected = {key: tensor for key, tensor in last(run).items() if not key.endswith("random")}
    assert_same_bits(actual, expected)


# ---- Channels last --------------------------------------------------------------------------------------------------


def test_channels_last_differs_only_by_rounding() -> None:
    """Of several channels: of one channel, pixel by pixel and channel by channel are the same order."""
    is_channels_last: list[bool] = []

    class Spy(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            is_channels_last.append(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
            return super().forward(x)

    game = in_float64(pictures(Spy))
    vectors, buffers, batch = point(game)
    whole = vector_jacobian(game, vectors, buffers, batch)
    is_channels_last.clear()
    actual = vector_jacobian(game.with_settings(EvaluationSettings(channels_last=True)), vectors, buffers, batch)
    assert is_channels_last == [False, True, True], "the generator's images begin as vectors"
    torch.testing.assert_close(tensors_of(*actual), tensors_of(*whole), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(actual[0].buffers, whole[0].buffers)


def test_mapped_seeds_keep_the_usual_memory_format() -> None:
    run = Run(pictures(), PLAIN, 3, (0, 1, 2, 3, 4), compile="off", samples=1, channels_last=True)
    torch.testing.assert_close(last(run), last(replace(run, channels_last=False)), rtol=1e-4, atol=1e-5)
    alone = last(replace(run, seeds=(3,)))
    torch.testing.assert_close(alone, last(replace(run, seeds=(3,), channels_last=False)), rtol=1e-4, atol=1e-5)


# ---- Batches in parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 3, 8, 20])
@pytest.mark.parametrize("name", ["points", "penalty", "pictures", "spectral norm"])
def test_parts_give_the_derivatives_of_the_whole_batch(name: str, parts: int) -> None:
    """Also parts of different sizes (8 = 3 + 3 + 2), and never more parts than samples."""
    game = {**GAMES, "points": lambda: ring(batch_norm=False), "pictures": GAMES["pictures without mixing"]}[name]()
    vectors, buffers, batch = point(game)
    split = game.with_settings(EvaluationSettings(accumulate=parts))
    plain = vector_field(split, vectors, buffers, batch)
    again, product = vector_jacobian(split, vectors, buffers, batch)
    block = vector_jacobian(split, vectors, buffers, batch, vectors, ("discriminator",), ("generator",))
    whole = vector_jacobian(game, vectors, buffers, batch)
    torch.testing.assert_close(tensors_of(plain), tensors_of(whole[0]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(tensors_of(again, product), tensors_of(*whole), rtol=1e-4, atol=1e-6)
    expected = vector_jacobian(game, vectors, buffers, batch, vectors, ("discriminator",), ("generator",))
    torch.testing.assert_close(tensors_of(*block), tensors_of(*expected), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(plain.buffers, whole[0].buffers)


def test_running_statistics_count_and_average_as_one_batch() -> None:
    game = ring()
    vectors, buffers, batch = point(game)
    whole = vector_field(game, vectors, buffers, batch).buffers["generator"]
    split = game.with_settings(EvaluationSettings(accumulate=4))
    parts = vector_field(split, vectors, buffers, batch).buffers["generator"]
    torch.testing.assert_close(parts["1.running_mean"], whole["1.running_mean"])
    assert int(parts["1.num_batches_tracked"]) == int(whole["1.num_batches_tracked"]) == 1


def test_random_layers_draw_different_numbers_in_every_part() -> None:
    game = ring(dropout=True)
    _, _, batch = point(game)
    parts = parts_of(game.with_settings(EvaluationSettings(accumulate=4)), batch)
    seeds = [int(part["seed"]) for part, _ in parts]
    assert len(set(seeds)) == 4 and seeds[0] == int(batch["seed"])


@pytest.mark.parametrize(
    "method",
    [
        PLAIN,
        methods.extragradient("adam", 1e-3),
        Method(Consensus(0.5), Simultaneous(), SGD(0.05)),
        Method(Smoothing(0.5, "code"), Simultaneous(), SGD(0.05)),
    ],
)
def test_a_run_with_accumulation_equals_the_plain_run(method: Method) -> None:
    run = Run(ring(batch_norm=False), method, 5, (0, 1, 2, 3, 4), accumulate=4, compile="off", samples=1)
    parts, whole = last(run), last(replace(run, accumulate=1))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(parts[key], whole[key]) for key in parts), "it was not seen in parts"


def test_accumulation_divides_the_memory_of_the_graph() -> None:
    def most(parts: int) -> int:
        """Return the largest number of bytes stored for derivatives at any time."""
        held, peak = 0, 0

        class Kept:
            def __init__(self, tensor: Tensor) -> None:
                nonlocal held, peak
                samples = tensor.dim() > 0 and len(tensor) == 64 // parts  # no weights
                size = tensor.numel() * tensor.element_size() if samples else 0
                held, self.tensor = held + size, tensor.detach()  # an output kept whole would keep its own graph
                peak = max(peak, held)
                weakref.finalize(self, released, size)

        def released(size: int) -> None:
            nonlocal held
            held -= size

        game = pictures(lambda _: nn.Identity(), batch=32).with_settings(EvaluationSettings(accumulate=parts))
        game.batch = 64
        vectors, buffers, batch = point(game)
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda saved: saved.tensor):
            vector_field(game, vectors, buffers, batch)
        return peak

    whole = most(1)
    assert most(4) <= whole / 3.9 and most(16) <= whole / 15, (whole, most(4), most(16))


class Viewed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1).view(x.shape)


class Strict(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            raise TypeError("no bfloat16 here")
        return x


def ring_with(layer: nn.Module) -> Adversarial:
    return Adversarial(lambda: generator(layer), discriminator, Ring(), latent=3, batch=8)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "precision": (lambda: Run(ring(), PLAIN, precision="float16"), "precision: got 'float16'"),  # type: ignore[arg-type]
    "no networks": (lambda: Run(Bilinear(), methods.simultaneous(), precision="bfloat16"), "precision.*Bilinear"),
    "no parts": (lambda: Run(ring(), PLAIN, accumulate=0), "accumulate: got 0; allowed: an integer ≥ 1"),
    "more parts than samples": (lambda: Run(ring(), PLAIN, accumulate=9), r"accumulate: got 9; allowed: 1 … 8"),
    "no samples": (lambda: Run(Bilinear(), methods.simultaneous(), accumulate=2), "accumulate: got 2"),
    "BatchNorm of one": (lambda: Run(ring(), PLAIN, accumulate=8), "accumulate: got 8; .*more than 1 value"),
    "channels of no networks": (lambda: Run(Bilinear(), methods.simultaneous(), channels_last=True), "channels_last"),
    "a view of pixels": (
        lambda: Run(pictures(lambda channels: Viewed()), PLAIN, channels_last=True),
        "channels_last: got True; allowed: False, or networks that support it. view size is not compatible",
    ),
    "a layer without bfloat16": (lambda: Run(ring_with(Strict()), PLAIN, precision="bfloat16"), "precision.*no bfloat"),
    "a stepper": (lambda: detente.Stepper(ring(), PLAIN, accumulate=9), "accumulate: got 9"),
}


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_unsupported_settings_are_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        make()


@pytest.mark.parametrize("name", ["competitive", "follow_the_ridge", "unrolled", "symplectic_adjustment", "ccadl"])
def test_methods_that_differentiate_the_whole_batch_are_refused(name: str) -> None:
    game = Adversarial(generator, discriminator, Ring(), 3, "wasserstein", batch=8)
    with pytest.raises(InvalidValue, match="accumulate: got 2; allowed: 1 with a field that differentiates the whole"):
        Run(game, methods.names()[name](), accumulate=2)


WAYS = {"bfloat16": {"precision": "bfloat16"}, "bfloat16 in parts": {"precision": "bfloat16", "accumulate": 2}}


def cheap_run(name: str, way: str) -> Run:
    """Return a run of two steps of a method, in one of the `WAYS`."""
    return Run(ring(batch_norm=False), methods.names()[name](), 2, (0,), samples=8, compile="off", **WAYS[way])


def find_refusals() -> Refusals:
    """Return the errors of the methods that cannot step in bfloat16, or not in parts."""
    errors = {
        (way, name): refusal(lambda way=way, name=name: cheap_run(name, way))
        for way in WAYS
        for name in methods.names()
    }
    return {pair: error for pair, error in errors.items() if error}


@pytest.mark.parametrize("name", sorted(methods.names()))
def test_every_method_supports_bfloat16_and_accumulation_or_is_refused_as_expected(name: str) -> None:
    """The expected refusals are in refusals.yaml, which `python -m tests.refusals` writes."""
    for way in WAYS:
        error = expected(__name__).get((way, name))
        if error:
            with pytest.raises(InvalidValue) as caught:
                cheap_run(name, way)
            assert str(caught.value) == error
            continue
        (progress,) = list(train(cheap_run(name, way)))[-1].progress
        assert progress.step == 2 and progress.diverged_at is None
        assert all(tensor.dtype != torch.bfloat16 for tensor in progress.state.flat().values())


# ---- Taken up again ------------------------------------------------------------------------------------------------


def test_a_resumed_run_with_cheaper_settings_ends_the_same(tmp_path: Path) -> None:
    run = Run(pictures(), PLAIN, 20, (0, 1), **EVERY, compile="off", precision="bfloat16", accumulate=2)
    run = replace(run, channels_last=True)
    record(run, tmp_path / "whole")
    record(replace(run, steps=10), tmp_path / "half")
    record(run, tmp_path / "half", resume=True)
    assert_same_bits(saved(tmp_path / "half"), saved(tmp_path / "whole"))


def test_settings_at_the_command_line_and_in_run_yaml(tmp_path: Path) -> None:
    out = tmp_path / "cheap"
    words = "train --game ring --steps 2 --samples 8 --game.batch 8 --precision bfloat16 --accumulate 2 --out".split()
    assert cli.main([*words, str(out)]) == 0
    text = (out / "run.yaml").read_text(encoding="utf-8")
    assert "precision: bfloat16\n" in text and "accumulate: 2\n" in text
    run = configuration.build(recorded_runs.from_directory(out))
    assert (run.precision, run.accumulate) == ("bfloat16", 2)
    assert cli.main(["resume", str(out), "--steps", "4"]) == 0
