"""Features of samples and of data are extracted once and shared by all metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from detente.data.arrays import Arrays
from detente.data.base import Data
from detente.data.gaussian_mixture import Ring
from detente.metrics.features.extractor import Extractor, Predictions, of_data, of_samples, real_parts


class Counting(Extractor):
    """An extractor that counts the samples it was shown."""

    def __init__(self, key: str = "counting") -> None:
        self.key, self.shown = key, 0

    def predict(self, images: Tensor) -> Predictions:
        self.shown += len(images)
        return Predictions(images.flatten(1), images.flatten(1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    return tmp_path


def points(count: int) -> Tensor:
    return torch.arange(3.0 * count).reshape(count, 3)


def reals(data: Data, count: int = 10_000) -> Tensor:
    return torch.cat([part["real"] for part in real_parts(data, count)])


def test_features_of_samples_are_extracted_once(subject_of) -> None:
    extractor, subject = Counting(), subject_of(Ring(), points(300))
    first = of_samples(subject, extractor)
    assert of_samples(subject, extractor) is first and extractor.shown == 300 and subject.game.sample_calls == 1
    assert torch.equal(first.features, points(300))
    of_samples(subject, other := Counting("another"))
    assert other.shown == 300 and subject.game.sample_calls == 1


def test_real_samples_are_a_fixed_random_permutation() -> None:
    data = Arrays(points(300))
    parts = [reals(dataset) for dataset in (data, data, Arrays(points(300)))]
    assert torch.equal(parts[0], parts[1]) and torch.equal(parts[0], parts[2])
    assert not torch.equal(parts[0], points(300)) and torch.equal(parts[0].sort(0).values, points(300))


def test_large_and_infinite_sets_give_the_requested_number() -> None:
    large = reals(Arrays(points(3000)), 1000)
    assert large.shape == (1000, 3) and len(large.unique(dim=0)) == 1000 and large.max() > 6000
    assert torch.equal(reals(Arrays(points(3000)), 200), large[:200])
    endless = [reals(Ring(), 1000) for _ in range(2)]
    assert endless[0].shape == (1000, 2) and torch.equal(*endless)


def test_real_features_are_kept_in_memory_and_on_disk(cache: Path) -> None:
    data, extractor = Arrays(points(300)), Counting()
    first = of_data(data, extractor)
    assert of_data(data, extractor) is first and extractor.shown == 300
    assert torch.equal(of_data(Arrays(points(300)), extractor), first) and extractor.shown == 300
    (file,) = (cache / "features").iterdir()
    of_data(Arrays(points(299)), extractor)
    of_data(data, Counting("another"))
    assert extractor.shown == 599 and len(list((cache / "features").iterdir())) == 3
    file.write_bytes(b"damaged")
    assert torch.equal(of_data(Arrays(points(300)), extractor), first) and extractor.shown == 899


def test_an_unwritable_cache_is_not_an_error(cache: Path) -> None:
    (cache / "features").write_bytes(b"a file where a folder should be")
    assert of_data(Arrays(points(10)), Counting()).shape == (10, 3)
