"""Your own arrays: forms, ranges, labels, files and Datasets."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from detente.data.arrays import Arrays, as_data
from detente.data.folders import ImageFolder
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue

PIXELS = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Pairs(Dataset):
    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index]


def whole(data: Arrays) -> torch.Tensor:
    return data.take(torch.arange(data.size))["real"]


def test_pixels_map_exactly_to_minus_one_and_one() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
    mapped = whole(Arrays(pixels)).flatten()
    assert mapped[0] == -1 and mapped[255] == 1 and mapped.dtype == torch.float32
    assert (mapped.diff() > 0).all() and float(mapped.sum()) == pytest.approx(0, abs=1e-4)
    assert torch.equal(((mapped + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(pixels).flatten())


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_layouts_of_the_same_images_agree(wrap) -> None:
    first = whole(Arrays(wrap(PIXELS)))
    assert first.shape == (2, 3, 5, 4) and first.is_contiguous()
    assert torch.equal(first, whole(Arrays(wrap(PIXELS.transpose(0, 3, 1, 2).copy()))))
    assert torch.equal(first[:, :1], whole(Arrays(wrap(PIXELS[..., 0].copy()))))
    assert first[1, 2, 4, 3] == PIXELS[1, 4, 3, 2] / np.float32(127.5) - np.float32(1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_points_of_any_floating_type_become_float32(dtype) -> None:
    points = np.array([[1e4, -2.0], [3.5, 0.0]]).astype(dtype)
    data = Arrays(points)
    assert data.shape == (2,) and data.size == 2 and data.class_count is None
    assert torch.equal(whole(data), torch.tensor([[1e4, -2.0], [3.5, 0.0]]))


def test_draws_are_independent_uniform_and_repeat() -> None:
    data = Arrays(torch.arange(10.0)[:, None], torch.arange(10))
    batch = data.draw(20_000, generator())
    assert torch.equal(batch["real"][:, 0].long(), batch["label"]) and batch["label"].dtype == torch.int64
    assert (torch.bincount(batch["label"]) - 2000).abs().max() < 5 * 2000**0.5
    again = data.draw(20_000, generator())
    assert torch.equal(batch["real"], again["real"]) and data.class_count == 10


def test_the_data_are_neither_changed_nor_shared_with_a_batch() -> None:
    points = torch.randn(8, 2, generator=generator())
    before = points.clone()
    Arrays(points).draw(8, generator())["real"].zero_()
    assert torch.equal(points, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("shape", [(3, 2), (3, 4, 4)])
def test_numbers_that_are_not_finite_are_refused(bad: float, shape: tuple[int, ...]) -> None:
    samples = np.zeros(shape)
    samples[2].flat[1] = bad
    with pytest.raises(InvalidValue, match=r"samples\[0:3\].*finite"):
        Arrays(samples)


def test_images_out_of_range_are_refused_with_the_range() -> None:
    images = np.linspace(-3, 255, 32, dtype=np.float32).reshape(2, 4, 4)
    with pytest.raises(InvalidValue, match=r"from -3 to 255.*\[-1, 1\]"):
        Arrays(images)
    assert float(whole(Arrays(images / 255)).max()) == 1


def test_images_that_look_like_zero_to_one_are_warned_about() -> None:
    with pytest.warns(UserWarning, match="look like"):
        Arrays(np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 4, 4))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((3, 2), np.int64), "int64"),
        (np.zeros(3), r"\(N, 1\)"),
        (np.zeros((3, 784), np.uint8), r"\(3, 784\) uint8"),
        (np.zeros((0, 2)), "at least one sample"),
        (np.array([["a"]]), "<U1"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex64"),
        ([[1.0, 2.0]], "a tensor, numpy array"),
        (None, "a tensor, numpy array"),
        (torch.zeros(3, 2, requires_grad=True), "requires grad"),
        ("nowhere.npy", "a file that exists"),
        ("weights.pt", ".npy or .npz"),
    ],
)
def test_what_is_not_data_is_refused(samples, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        as_data(samples)


@pytest.mark.parametrize("labels", [np.zeros(4, int), np.zeros((3, 1), int), np.array([0, 1, -1]), np.zeros(3)])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(InvalidValue, match="labels"):
        Arrays(np.zeros((3, 2)), labels)


@pytest.mark.filterwarnings("error")
def test_npy_files_stay_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS)
    np.save(tmp_path / "labels.npy", np.array([4, 1]))
    data = Arrays(tmp_path / "images.npy", str(tmp_path / "labels.npy"))
    assert isinstance(data.arrays[0], np.memmap)
    assert torch.equal(whole(data), whole(Arrays(PIXELS)))
    assert data.take(torch.tensor([1, 0]))["label"].tolist() == [1, 4]
    np.save(tmp_path / "points.npy", np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(InvalidValue, match="finite"):
        as_data(tmp_path / "points.npy")


def test_npz_files_bring_their_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=PIXELS, y_train=np.array([1, 0]), x_test=PIXELS)
    np.savez(tmp_path / "one.npz", anything=PIXELS)
    np.savez(tmp_path / "two.npz", this=PIXELS, that=PIXELS)
    labelled, one = as_data(str(tmp_path / "set.npz")), as_data(tmp_path / "one.npz")
    assert isinstance(labelled, Arrays) and isinstance(one, Arrays)
    assert labelled.take(torch.arange(2))["label"].tolist() == [1, 0]
    assert torch.equal(whole(one), whole(labelled)) and one.class_count is None
    with pytest.raises(InvalidValue, match="this.*that.*samples, images"):
        as_data(tmp_path / "two.npz")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.npy").write_bytes(b"no array")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    for name in ("broken.npy", "broken.npz", "pickled.npy"):
        with pytest.raises(InvalidValue, match=name):
            as_data(tmp_path / name)


def test_datasets_are_stacked_with_their_labels() -> None:
    items = [(Image.fromarray(image), index + 3) for index, image in enumerate(PIXELS)]
    data = as_data(Pairs(items))
    assert isinstance(data, Arrays) and torch.equal(whole(data), whole(Arrays(PIXELS)))
    assert data.take(torch.arange(2))["label"].tolist() == [3, 4]
    points = as_data(Pairs([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]))
    assert isinstance(points, Arrays) and whole(points).tolist() == [[1, 2], [3, 4]] and points.class_count is None
    tensors = as_data(TensorDataset(torch.eye(3), torch.tensor([2, 1, 0])))
    assert isinstance(tensors, Arrays) and torch.equal(whole(tensors), torch.eye(3)) and tensors.class_count == 3


def test_targets_that_are_not_classes_are_no_labels() -> None:
    assert as_data(TensorDataset(torch.eye(3), torch.rand(3))).draw(1, generator()).keys() == {"real"}
    assert as_data(Pairs([(np.zeros(2), 0.5), (np.zeros(2), 0.7)])).draw(1, generator()).keys() == {"real"}


def test_items_of_different_form_are_named() -> None:
    with pytest.raises(InvalidValue, match=r"samples\[1\].*\(3,\)"):
        as_data(Pairs([np.zeros(2), np.zeros(3)]))


def test_data_pass_through_and_folders_are_opened(tmp_path: Path) -> None:
    ring = Ring()
    assert as_data(ring) is ring
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    assert isinstance(as_data(tmp_path), ImageFolder)


def test_ordinary_images_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Arrays(np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4))
