"""The Inception Score against torchmetrics' and closed forms; by the classifier, and by a stub of Inception."""

from __future__ import annotations

import math
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore as TorchmetricsInceptionScore

from detente.data.arrays import Arrays
from detente.data.digits import Digits
from detente.errors import InvalidValue
from detente.metrics.features import inception
from detente.metrics.frechet import FID, frechet_distance, moments
from detente.metrics.inception_score import ClassifierScore, InceptionScore, inception_score
from detente.metrics.kernel_distance import KID, squared_discrepancy


def test_score_equals_torchmetrics() -> None:
    logits = 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        reference = TorchmetricsInceptionScore(feature=nn.Identity(), splits=8).set_dtype(torch.float64)
        reference.update(logits)
        torch.manual_seed(5)
        mean, spread = reference.compute()
        torch.manual_seed(5)
        order = torch.randperm(200)
    score = inception_score(logits[order].softmax(1), 8)
    assert score == pytest.approx((float(mean), float(spread) * math.sqrt(7 / 8)), rel=1e-9)


def test_score_in_splits_equals_numpy() -> None:
    p = torch.rand(23, 4, generator=torch.Generator().manual_seed(0)).double()
    p = (p / p.sum(1, keepdim=True)).numpy()
    scores = []
    for k in range(3):
        part = p[k * 23 // 3 : (k + 1) * 23 // 3]
        scores.append(np.exp((part * np.log(part / part.mean(0))).sum(1).mean()))
    assert inception_score(torch.from_numpy(p), 3) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-12)


def test_closed_forms() -> None:
    assert inception_score(torch.eye(10).repeat(7, 1), 7) == pytest.approx((10, 0), abs=1e-12)
    assert inception_score(torch.full((20, 4), 0.25), 2) == pytest.approx((1, 0), abs=1e-12)
    assert inception_score(torch.eye(10)[[3]].repeat(20, 1), 1)[0] == pytest.approx(1)
    with pytest.raises(InvalidValue, match="splits"):
        inception_score(torch.eye(3), 4)


def test_by_the_classifier(random_classifier, subject_of, images) -> None:
    subject = subject_of(Digits(), images)
    expected = inception_score(random_classifier.network(images).double().softmax(1), 10)[0]
    assert ClassifierScore().applies(subject.game)
    assert ClassifierScore()(subject) == pytest.approx(expected, rel=1e-9) and 1.01 < expected < 10
    assert math.isnan(ClassifierScore(splits=61)(subject))
    assert math.isnan(ClassifierScore()(subject_of(Digits(), images / 0)))


@pytest.mark.parametrize("build", [lambda: ClassifierScore(splits=0), lambda: InceptionScore(splits=1.5)])  # pyright: ignore
def test_invalid_arguments_are_refused(build) -> None:
    with pytest.raises(InvalidValue, match="splits"):
        build()


class StubInception(nn.Module):
    """Replaces torch-fidelity's network: features are means of pixels, logits the first ten of them."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str) -> None:
        super().__init__()
        assert features_list == ["2048", "logits_unbiased"] and Path(feature_extractor_weights_path).is_file()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        assert pixels.dtype == torch.uint8
        features = pixels.float().mean(2).flatten(1) / 255
        return features, 20 * features[:, :10]


@pytest.fixture
def stub_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    module: Any = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = StubInception
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    (tmp_path / "weights.pth").write_bytes(b"weights")
    return str(tmp_path / "weights.pth")


def coloured(count: int, seed: int) -> Tensor:
    return 2 * torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 1


def stub_features(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round().mean(2).flatten(1) / 255


def test_the_metrics_of_inception(stub_inception: str, subject_of) -> None:
    real, fake = coloured(300, 0), 0.5 * coloured(200, 1)
    subject = subject_of(Arrays(real), fake)
    assert all(metric.applies(subject.game) for metric in (FID(), KID(), InceptionScore()))
    assert not FID.routine and not KID.routine and not InceptionScore.routine
    expected = frechet_distance(moments(stub_features(real)), moments(stub_features(fake)))
    assert FID(weights=stub_inception)(subject) == pytest.approx(expected, rel=1e-4)
    kernel = KID(subsets=4, size=1000, weights=stub_inception)(subject_of(Arrays(real[:200]), fake))
    assert kernel == pytest.approx(squared_discrepancy(stub_features(real[:200]), stub_features(fake)), rel=1e-3)
    probabilities = (20 * stub_features(fake)[:, :10]).double().softmax(1)
    assert InceptionScore(weights=stub_inception)(subject) == pytest.approx(inception_score(probabilities)[0], rel=1e-6)
    assert subject.game.sample_calls == 1


def test_missing_weights_are_named(stub_inception: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(InvalidValue, match=inception.WEIGHTS):
        inception.load()


def test_missing_torch_fidelity_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'detente\[inception\]'"):
        inception.load()


def test_unsuitable_images_are_refused(subject_of) -> None:
    for shape in ((1, 32, 32), (3, 16, 16)):
        game = subject_of(Arrays(torch.zeros(4, *shape)), torch.zeros(1)).game
        assert not FID().applies(game) and not InceptionScore().applies(game)
