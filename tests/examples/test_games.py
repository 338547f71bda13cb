"""The six games of examples/: each takes the steps of an ordinary training loop, and its file runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import detente
from benchmarks.games_by_hand import LOOPS
from detente import methods
from detente.data.digits import Digits

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = {"vq_autoencoder": {"start": 2, "ramp": 2}, "domain_adversarial": {"ramp": 2}}  # within the first five steps
PRINTED = {
    "vq_autoencoder": ["error", "detail", "l1", "codebook", "commitment", "adversarial"],
    "vocoder": ["distance", "spectrum", "matching", "adversarial"],
    "cyclegan": ["error", "negate", "restore.adversarial", "restore.cycle"],
    "domain_adversarial": ["accuracy", "source accuracy", "domain", "classifier", "features"],
    "constrained": ["violation", "error", "multipliers", "classifier"],
    "tabular_gan": ["distance", "accuracy", "real", "fake", "r1"],
}
SHOWN = {
    "vq_autoencoder": {"samples": (32, 1, 28, 28)},
    "vocoder": {"samples": (8, 1, 1024)},
    "cyclegan": {"negatives": (16, 1, 16, 16), "digits": (16, 1, 16, 16)},
    "tabular_gan": {"samples": (64, 10)},
}


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a file of examples/ as a module, as a user in that folder imports it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module(request.param)


every_game = pytest.mark.parametrize("example", LOOPS, indirect=True)


def parameters(players: dict[str, Any]) -> dict[str, Tensor]:
    """Return all parameters by player and name."""
    tensors = {}
    for name, player in players.items():
        if isinstance(player, nn.Module):
            tensors |= {f"{name}.{key}": parameter for key, parameter in player.named_parameters()}
        else:
            tensors[name] = player
    return tensors


@every_game
def test_five_steps_are_those_of_an_ordinary_loop(example: ModuleType) -> None:
    """The same parameters to 1e-6 after each step, though every step moves them by about 1e-3; in float32."""
    name = example.__name__
    game = example.game(**SETTINGS.get(name, {}))
    rates = {player: 1e-3 * (index + 1) for index, player in enumerate(game.players)}
    stepper = detente.Stepper(game, methods.alternating(learning_rate=rates))
    plain = {key: part.train() if isinstance(part, nn.Module) else part for key, part in stepper.modules().items()}
    step, generator = LOOPS[name](plain, rates, **SETTINGS.get(name, {})), torch.Generator().manual_seed(1)
    before = {key: tensor.clone() for key, tensor in parameters(plain).items()}
    for _ in range(5):
        batch = game.draw(generator)
        stepper.step(batch)
        step(batch)
        by_hand = parameters(plain)
        for key, tensor in parameters(stepper.modules()).items():
            torch.testing.assert_close(tensor, by_hand[key], rtol=0, atol=1e-6)
    assert all(not torch.equal(before[key], tensor) for key, tensor in parameters(plain).items())


@every_game
def test_the_file_runs(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints finite scores and losses four times, and has at most 80 lines that are not empty."""
    example.main(steps=4)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"step {step}" for step in (1, 2, 3, 4)]
    for line in lines:
        names, values = zip(
            *re.findall(r"([a-z][\w. ]*?) (-?[\d.]+|nan|inf)(?:, |$)", line.partition(": ")[2]), strict=True
        )
        assert sorted(names) == sorted(PRINTED[example.__name__])
        assert all(torch.tensor([float(value) for value in values]).isfinite())
    source = (EXAMPLES / f"{example.__name__}.py").read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 80


@pytest.mark.parametrize("example", SHOWN, indirect=True)
def test_samples_have_the_shape_and_differ(example: ModuleType) -> None:
    """Samples of a shape, a few of them different from each other."""
    game = example.game()
    stepper = detente.Stepper(game, methods.alternating())
    shown = game.show(stepper.state, game.draw(torch.Generator().manual_seed(0)))
    assert {name: tuple(samples.shape) for name, samples in shown.items()} == SHOWN[example.__name__]
    assert all(not torch.equal(samples[0], samples[1]) for samples in shown.values())


def test_the_autoencoders_term_and_judge_start_when_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `judge_start` the judge does not move, and up to step `start` the term is zero."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    game = importlib.import_module("vq_autoencoder").game(weight=0.5, start=2, ramp=2, judge_start=1)
    stepper = detente.Stepper(game, methods.alternating())
    initial = stepper.state.vectors["judge"]
    terms, moved = [], []
    for _ in range(5):
        info = stepper.step()
        terms.append(float(info.terms["autoencoder"]["adversarial"]))
        moved.append(not torch.equal(stepper.state.vectors["judge"], initial))
    assert moved == [False, True, True, True, True]
    assert [term == 0 for term in terms] == [True, True, True, False, False]


def test_the_score_of_a_perfect_player_is_perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negation, the identity, and a copy of the sound have no error; equal acceptance violates nothing."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    negation = torch.neg
    assert importlib.import_module("cyclegan").scores({"negate": negation, "restore": negation})["error"] == 0
    scores = importlib.import_module("vq_autoencoder").scores({"autoencoder": lambda x: (x, None, None)})
    assert scores == {"error": 0, "detail": 1}
    sound = importlib.import_module("vocoder").tones(torch.Generator().manual_seed(1), 256)["sound"]
    assert importlib.import_module("vocoder").scores({"vocoder": lambda *_: sound})["distance"] == 0
    constant = {"classifier": lambda columns: columns.new_zeros(len(columns), 1)}
    fair = importlib.import_module("constrained").scores(constant)
    assert fair["violation"] == 0 and fair["error"] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-6)


def test_without_debians_package_the_autoencoder_learns_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four fifths of each digit to train on, the others to test."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module("vq_autoencoder")
    monkeypatch.setattr(module, "FASHION", Path("/nowhere"))
    train, test = (module.pixels.__wrapped__(split) for split in ("train", "t10k"))
    assert train.shape == (4000, 28, 28) and test.shape == (1000, 28, 28) and train.dtype == test.dtype == "uint8"
    together = {image.tobytes() for image in (*train, *test)}
    assert together == {image.numpy().tobytes() for image in Digits().arrays[0]}
    assert abs(train.mean() - test.mean()) < 1  # both have all digits
