"""Classifiers: trained on images that are easy to distinguish, stored completely, and named in errors if missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from detente.autodiff import vector_field
from detente.cli import classifier as command
from detente.data.digits import Digits
from detente.errors import InvalidValue
from detente.metrics.features import classifier, classifier_training
from detente.metrics.features.classifier import Classifier, Network
from detente.metrics.features.classifier_training import PLAYER, Recipe, Recognition, _sets, _shifted, names, train

QUICK = Recipe(epochs=3, batch=10, shift=0)


@pytest.fixture
def few(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on 300 digits, and test on 100."""
    (images, labels), (tests, answers) = _sets("digits")
    monkeypatch.setattr(
        classifier_training, "_sets", lambda name: ((images[:300], labels[:300]), (tests[:100], answers[:100]))
    )


def test_parameters() -> None:
    assert sum(p.numel() for p in Network(1, 28, 10).parameters()) == 320 + 18_496 + 301_152 + 970


def test_training_is_repeatable_and_learns(few: None, own_cache: Path) -> None:
    shares: list[float] = []
    first = train("digits", 5, QUICK, lambda share, loss: shares.append(share))
    assert first.accuracy > 0.5 and shares == sorted(shares) and shares[-1] == 1
    stated = first.card
    assert (stated.name, stated.seed, stated.trained_on, stated.held_out) == ("digits", 5, 300, 100)
    assert (stated.shape, stated.classes, stated.epochs) == ((1, 28, 28), 10, 3)
    again, other = train("digits", 5, QUICK), train("digits", 6, Recipe(epochs=1))
    assert again.card == stated and other.key != first.key
    assert sorted(path.name for path in (own_cache / "classifiers").iterdir()) == ["digits.json", "digits.safetensors"]


def test_a_step_follows_the_gradient_of_the_cross_entropy() -> None:
    network = Network(1, 8, 3, width=2, features=4)
    images, labels = torch.randn(5, 1, 8, 8), torch.tensor([0, 2, 1, 1, 0])
    game = Recognition(network)
    vectors, buffers = game.initial(torch.Generator())
    evaluation = vector_field(game, vectors, buffers, {"real": images, "label": labels})
    loss = cross_entropy(network(images), labels)
    loss.backward()
    assert torch.equal(evaluation.losses[PLAYER], loss.detach())
    expected = torch.cat([parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None])
    torch.testing.assert_close(evaluation.field[PLAYER], expected)


def test_a_thousand_digits_are_held_out(own_cache: Path) -> None:
    (images, labels), (tests, answers) = _sets("digits")
    assert len(images) == len(labels) == 4000 and len(tests) == len(answers) == 1000
    assert min(torch.bincount(answers)) > 70
    complete = torch.cat([images, tests]).flatten(1)
    assert torch.equal(complete.unique(dim=0), Digits().arrays[0].flatten(1).unique(dim=0))


def test_shifted_images_keep_their_pixels() -> None:
    images = torch.zeros(50, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 4] = torch.arange(1, 51)
    moved = _shifted(images, 2, torch.Generator().manual_seed(0))
    assert torch.equal(moved.flatten(1).max(1).values, torch.arange(1, 51, dtype=torch.uint8))
    where = moved.flatten(1).argmax(1)
    assert set((where // 9).tolist()) == set((where % 9).tolist()) == {2, 3, 4, 5, 6}
    assert torch.equal(_shifted(images, 0, torch.Generator()), images)


def test_prediction_uses_evaluation_mode_and_accepts_images_of_any_size(
    random_classifier: Classifier, images: Tensor
) -> None:
    prediction = random_classifier.predict(images)
    assert (
        prediction.features.shape == (60, 96)
        and prediction.logits.shape == (60, 10)
        and not prediction.features.requires_grad
    )
    assert torch.equal(random_classifier.features(images), prediction.features)
    torch.testing.assert_close(random_classifier.probabilities(images).sum(1), torch.ones(60, dtype=torch.float64))
    torch.testing.assert_close(random_classifier.network(images), prediction.logits)
    assert not random_classifier.network.training
    larger = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(
        random_classifier.predict(larger[..., :28, :28]), random_classifier.predict(larger[..., :28, :28])
    )
    assert random_classifier.predict(larger).features.shape == (60, 96)


def test_errors_for_missing_or_damaged_classifiers_name_the_command(
    random_classifier: Classifier, own_cache: Path
) -> None:
    with pytest.raises(InvalidValue, match="Run once: detente data classifier fashion_mnist"):
        classifier.load("fashion_mnist")
    with pytest.raises(InvalidValue, match="data"):
        classifier.of(None)
    assert classifier.load("digits").key == random_classifier.key
    file = own_cache / "classifiers" / "digits.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(InvalidValue, match="Run again: detente data classifier digits --overwrite"):
        classifier.load("digits")


def test_only_sets_with_labels_have_classifiers() -> None:
    assert {"digits", "mnist", "fashion_mnist"} <= set(names()) and not {"celeba", "one_billion_word"} & set(names())
    with pytest.raises(InvalidValue, match="digits"):
        train("digit")


def test_command(few: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(classifier_training.RECIPES, "digits", Recipe(epochs=1, batch=50))
    assert command.main(["digits", "--seed", "2"]) == 0
    first = capsys.readouterr().out
    assert "of 100 held-out images" in first and "on 300 (seed 2)" in first
    assert command.main(["digits"]) == 0
    assert "already trained" in capsys.readouterr().out
    assert command.main(["digits", "--overwrite"]) == 0
    assert "(seed 0)" in capsys.readouterr().out
