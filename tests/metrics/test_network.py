"""Features by any network: modules, functions and files; of images in any range, with any number of channels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from detente.data.arrays import Arrays
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.metrics.features.extractor import of_data, of_samples, stamp
from detente.metrics.features.network import DEVIATION, MEAN, FeatureNetwork, as_extractor
from detente.metrics.features.real_samples import pixel_range
from detente.metrics.frechet import FrechetDistance, frechet_distance, moments
from detente.metrics.kernel_distance import KernelDistance, squared_discrepancy
from detente.metrics.neighbours import FeatureRecall, neighbourhoods


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def network(channels: int = 1) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(*layers, nn.Flatten())


def images(count: int, seed: int, channels: int = 1, side: int = 8) -> Tensor:
    return 2 * torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) - 1


def plain(path: Path, form: str) -> Path:
    """Write a module into a file."""
    module: Any = network().eval()
    if form == "exported":
        dynamic = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(module, (images(3, 0),), dynamic_shapes=dynamic), path / "network.pt2")
        return path / "network.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
        scripted: Any = torch.jit.script(module)
        scripted.save(path / "network.pt")
    return path / "network.pt"


def test_a_module_is_copied_and_evaluated() -> None:
    module = network().train()
    extractor, x = FeatureNetwork(module), images(5, 1)
    with torch.no_grad():
        expected = network().eval()(x)
    assert torch.equal(extractor.predict(x).features, expected) and extractor.predict(x).logits.shape == (5, 0)
    assert module.training and all(parameter.requires_grad for parameter in module.parameters())
    with torch.no_grad():
        module[0].weight.zero_()
    assert torch.equal(extractor.predict(x).features, expected)


@pytest.mark.parametrize("form", ["scripted", pytest.param("exported", marks=pytest.mark.slow)])
def test_a_file_is_the_module_that_was_written(form: str, tmp_path: Path) -> None:
    extractor, x = FeatureNetwork(plain(tmp_path, form)), images(5, 1)
    torch.testing.assert_close(extractor.predict(x).features, network().eval()(x).detach())
    assert extractor.on_disk and extractor.name.startswith("network.pt")


def test_a_state_dict_fills_a_module(tmp_path: Path) -> None:
    other = network()
    with torch.no_grad():
        other[0].weight.mul_(3)
    torch.save(other.state_dict(), tmp_path / "state.pth")
    extractor, x = FeatureNetwork(network(), weights=tmp_path / "state.pth"), images(5, 1)
    torch.testing.assert_close(extractor.predict(x).features, other.eval()(x).detach())
    with pytest.raises(InvalidValue, match="weights"):
        FeatureNetwork(nn.Linear(2, 2), weights=tmp_path / "state.pth")
    with pytest.raises(InvalidValue, match="FeatureNetwork\\(module, weights=PATH\\)"):
        FeatureNetwork(tmp_path / "state.pth")


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("was run",))


def test_a_pickled_file_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(InvalidValue, match="Pickled modules are not loaded"):
        FeatureNetwork(tmp_path / "evil.pt")
    assert "was run" not in capsys.readouterr().out


def test_images_are_resized_and_normalised_for_the_network() -> None:
    x = images(4, 2)
    standard = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
    larger = interpolate(x.expand(-1, 3, -1, -1), (14, 14), mode="bicubic", antialias=True)
    expected = (((larger + 1) / 2 - standard[0]) / standard[1]).flatten(1)
    features = FeatureNetwork(lambda z: z, size=14, pixels="imagenet").predict(x).features
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(FeatureNetwork(lambda z: z, pixels="[0, 1]").predict(x).features, (x.flatten(1) + 1) / 2)
    assert FeatureNetwork(lambda z: z, channels=3).predict(x).features.shape == (4, 3 * 64)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255)])
def test_scores_do_not_depend_on_the_range_of_the_pixels(low: int, high: int, subject_of) -> None:
    def scaled(x: Tensor) -> Tensor:
        return (x + 1) / 2 * (high - low) + low

    real, fake = images(60, 3), 0.5 * images(50, 4)
    features = [network().eval()(x).detach() for x in (real, fake)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the images look like [0, 1]
        subject = subject_of(Arrays(scaled(real)), scaled(fake))
    assert pixel_range(subject.data) == (low, high)
    metric = FrechetDistance(network())
    assert metric(subject) == pytest.approx(frechet_distance(*map(moments, features)), rel=1e-4)
    expected = {"real": 60, "samples": 50, "extractor": metric.extractor.key}
    assert metric.stamp(subject) == expected | ({} if low == -1 else {"pixels": f"[{low}, {high}]"})


def test_uint8_images_are_accepted_whatever_their_content() -> None:
    assert pixel_range(Arrays(torch.full((4, 8, 8), 200, dtype=torch.uint8))) == (-1, 1)


def test_standardized_images_are_refused_unless_pixels_are_left_unchanged(subject_of) -> None:
    subject = subject_of(Arrays(3 * images(40, 0)), 3 * images(40, 1))
    reason = FrechetDistance(network()).missing(subject.game)
    assert "images in [-1, 1], [0, 1] or [0, 255]" in reason and "to 3" in reason
    unchanged = FrechetDistance(FeatureNetwork(network(), pixels="unchanged"))
    assert unchanged.applies(subject.game) and unchanged(subject) >= 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_samples_of_other_precisions(dtype: torch.dtype, subject_of) -> None:
    real, fake = Arrays(images(40, 0)), images(40, 1)
    expected = FrechetDistance(network())(subject_of(real, fake))
    assert FrechetDistance(network())(subject_of(real, fake.to(dtype))) == pytest.approx(expected, rel=2e-2)
    wide = FrechetDistance(network().double())(subject_of(real, fake.to(dtype)))
    assert wide == pytest.approx(expected, rel=2e-2)


def test_the_other_distances_on_the_same_features(subject_of) -> None:
    real, fake = images(40, 0), images(30, 1)
    x, y = (network().eval()(z).detach() for z in (real, fake))
    subject = subject_of(Arrays(real), fake)
    order = subject.data.take(torch.arange(40))["real"]
    assert torch.equal(order, real)
    kernel = KernelDistance(network(), subsets=2, size=1000)(subject_of(Arrays(real[:30]), fake))
    assert kernel == pytest.approx(squared_discrepancy(x[:30], y), rel=1e-3, abs=1e-9)
    shown = of_data(subject.data, as_extractor(metric := network()), 30)
    recall = FeatureRecall(extractor=metric)(subject)
    assert recall == pytest.approx(100 * neighbourhoods(shown, y, 3).recall, abs=1e-9)
    assert FeatureRecall(extractor=metric).stamp(subject)["real"] == 30


def test_points_need_no_images(subject_of) -> None:
    subject = subject_of(Ring(), Ring().draw(500, torch.Generator().manual_seed(0))["real"])
    metric = FrechetDistance(lambda x: torch.cat([x, x**2], dim=1), real=2000)
    assert metric.applies(subject.game) and 0 <= metric(subject) < 0.1
    assert metric.stamp(subject)["real"] == 2000


def test_more_real_samples_than_there_are_give_all(subject_of) -> None:
    subject = subject_of(Arrays(images(20, 0)), images(10, 1))
    assert stamp(subject, FeatureNetwork(network()), 50_000)["real"] == 20
    assert len(of_data(subject.data, FeatureNetwork(network()), 50_000)) == 20


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_that_are_not_finite_have_no_features(bad: float, subject_of) -> None:
    fake = images(10, 1)
    fake[3, 0, 0, 0] = bad
    subject = subject_of(Arrays(images(20, 0)), fake)
    features = of_samples(subject, FeatureNetwork(lambda x: x.clamp(-1, 1).nan_to_num())).features
    assert features[3].isnan().all() and features[[0, 1, 2, 4]].isfinite().all()
    assert FrechetDistance(network())(subject) != FrechetDistance(network())(subject)  # NaN


def test_files_of_other_sizes_and_contents_do_not_share_features(tmp_path: Path) -> None:
    data, file = Arrays(images(20, 0)), plain(tmp_path, "scripted")
    first = of_data(data, FeatureNetwork(file))
    assert torch.equal(of_data(Arrays(images(20, 0)), FeatureNetwork(file)), first)
    for other in (FeatureNetwork(file, size=16), FeatureNetwork(file, pixels="[0, 1]")):
        assert not torch.equal(of_data(data, other), first)
    calls: list[int] = []

    def function(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x.flatten(1)

    for _ in range(2):
        of_data(data, FeatureNetwork(function))
    assert calls == [20, 20], "a function may have changed, so its features are not stored on disk"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FeatureNetwork("none.pt2"), "There is no such file"),
        (lambda: as_extractor("none.pt2"), "There is no such file, and it cannot be imported"),
        (lambda: as_extractor("torch.nothing"), "has no attribute 'nothing'"),
        (lambda: as_extractor(3), "extractor: got 3"),
        (lambda: FeatureNetwork(abs, size=0), "size: got 0"),
        (lambda: FeatureNetwork(abs, pixels="0-1"), "pixels: got '0-1'"),  # type: ignore[arg-type]
        (lambda: FeatureNetwork(abs, channels=2), "channels: got 2"),
        (lambda: FeatureNetwork(network()).predict(images(2, 0, channels=3)), "expected input"),
        (lambda: FeatureNetwork(lambda x: x.sum()).predict(images(2, 0)), "one tensor of features"),
        (lambda: FeatureNetwork(lambda x: (x, x)).predict(images(2, 0)), "output tuple of"),
    ],
)
def test_invalid_networks_give_one_line_errors(build, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        build()
    assert message in str(caught.value) and "\n" not in str(caught.value)
