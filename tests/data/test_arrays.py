"""Your own arrays: shapes, ranges, labels, files and Datasets."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from detente.data.arrays import Arrays, as_data
from detente.data.base import StoredData
from detente.data.folders import ImageFolder
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.registry import members

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


def all_samples(data: Arrays) -> torch.Tensor:
    return data.take(torch.arange(data.size))["real"]


def test_pixels_map_exactly_to_minus_one_and_one() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
    mapped = all_samples(Arrays(pixels)).flatten()
    assert mapped[0] == -1 and mapped[255] == 1 and mapped.dtype == torch.float32
    assert (mapped.diff() > 0).all() and float(mapped.sum()) == pytest.approx(0, abs=1e-4)
    assert torch.equal(((mapped + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(pixels).flatten())


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_layouts_of_the_same_images_agree(wrap) -> None:
    first = all_samples(Arrays(wrap(PIXELS)))
    assert first.shape == (2, 3, 5, 4) and first.is_contiguous()
    assert torch.equal(first, all_samples(Arrays(wrap(PIXELS.transpose(0, 3, 1, 2).copy()))))
    assert torch.equal(first[:, :1], all_samples(Arrays(wrap(PIXELS[..., 0].copy()))))
    assert first[1, 2, 4, 3] == PIXELS[1, 4, 3, 2] / np.float32(127.5) - np.float32(1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_points_of_any_floating_type_become_float32(dtype) -> None:
    points = np.array([[1e4, -2.0], [3.5, 0.0]]).astype(dtype)
    data = Arrays(points)
    assert data.shape == (2,) and data.size == 2 and data.class_count is None
    assert torch.equal(all_samples(data), torch.tensor([[1e4, -2.0], [3.5, 0.0]]))


def test_draws_are_independent_uniform_and_repeat() -> None:
    data = Arrays(torch.arange(10.0)[:, None], torch.arange(10))
    batch = data.draw(20_000, generator())
    assert torch.equal(batch["real"][:, 0].long(), batch["label"]) and batch["label"].dtype == torch.int64
    assert (torch.bincount(batch["label"]) - 2000).abs().max() < 5 * 2000**0.5
    again = data.draw(20_000, generator())
    assert torch.equal(batch["real"], again["real"]) and data.class_count == 10


def test_batches_are_copies() -> None:
    points = torch.randn(8, 2, generator=generator())
    before = points.clone()
    Arrays(points).draw(8, generator())["real"].zero_()
    assert torch.equal(points, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("shape", [(3, 2), (3, 4, 4)])
def test_non_finite_values_are_refused(bad: float, shape: tuple[int, ...]) -> None:
    samples = np.zeros(shape)
    samples[2].flat[1] = bad
    with pytest.raises(InvalidValue, match=r"samples\[0:3\].*finite"):
        Arrays(samples)


SHAPES = {"sound": (1, 64), "series": (20, 5), "voxels": (1, 4, 4, 4), "feature maps": (16, 4, 4), "images": (8, 8, 3)}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_floating_point_samples_keep_shape_axes_and_range(name: str, wrap) -> None:
    samples = np.random.default_rng(0).normal(0, 100, (6, *SHAPES[name])).astype(np.float32)
    data = Arrays(wrap(samples))
    assert data.shape == SHAPES[name] and np.array_equal(all_samples(data).numpy(), samples)


def test_images_in_zero_to_one_give_a_warning() -> None:
    with pytest.warns(UserWarning, match="look like"):
        Arrays(np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((3, 2), np.int64), "int64"),
        (np.zeros(3), r"\(N, 1\)"),
        (np.zeros((3, 2), bool), "bool"),
        (np.zeros((3, 2), object), "object"),
        (torch.eye(3).to_sparse(), "sparse_coo.*dense"),
        (np.ma.masked_invalid(np.array([[1.0, np.nan], [2.0, 3.0]])), "1 masked"),
        (np.zeros((3, 784), np.uint8), r"\(3, 784\) uint8"),
        (np.zeros((0, 2)), "at least one sample"),
        (np.array([["a"]]), "<U1"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex64"),
        ([[1.0, 2.0]], "a tensor, numpy array"),
        (None, "a tensor, numpy array"),
        (torch.zeros(3, 2, requires_grad=True), "requires grad"),
        ("nowhere.npy", "a folder or file that exists"),
    ],
)
def test_other_sources_are_refused(samples, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        as_data(samples)


@pytest.mark.parametrize(
    "labels", [np.zeros(4, int), np.zeros((3, 2), int), np.array([0, 1, -1]), np.array([0, 0.5, 1])]
)
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(InvalidValue, match="labels"):
        Arrays(np.zeros((3, 2)), labels)


@pytest.mark.filterwarnings("error")
def test_npy_files_stay_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS)
    np.save(tmp_path / "labels.npy", np.array([4, 1]))
    data = Arrays(tmp_path / "images.npy", str(tmp_path / "labels.npy"))
    assert isinstance(data.arrays[0], np.memmap)
    assert torch.equal(all_samples(data), all_samples(Arrays(PIXELS)))
    assert data.take(torch.tensor([1, 0]))["label"].tolist() == [1, 4]
    np.save(tmp_path / "points.npy", np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(InvalidValue, match="finite"):
        as_data(tmp_path / "points.npy")


def test_npz_files_may_contain_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=PIXELS, y_train=np.array([1, 0]), x_test=PIXELS)
    np.savez(tmp_path / "single.npz", anything=PIXELS)
    np.savez(tmp_path / "two.npz", this=PIXELS, that=PIXELS)
    labelled, single = as_data(str(tmp_path / "set.npz")), as_data(tmp_path / "single.npz")
    assert isinstance(labelled, Arrays) and isinstance(single, Arrays)
    assert labelled.take(torch.arange(2))["label"].tolist() == [1, 0]
    assert torch.equal(all_samples(single), all_samples(labelled)) and single.class_count is None
    with pytest.raises(InvalidValue, match="this.*that.*samples, images"):
        as_data(tmp_path / "two.npz")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.npy").write_bytes(b"no array")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    for name in ("broken.npy", "broken.npz", "pickled.npy"):
        with pytest.raises(InvalidValue, match=name):
            as_data(tmp_path / name)


def test_datasets_are_stacked_with_their_labels() -> None:
    items = [(Image.fromarray(image), index + 3) for index, image in enumerate(PIXELS)]
    data = as_data(Pairs(items))
    assert isinstance(data, Arrays) and torch.equal(all_samples(data), all_samples(Arrays(PIXELS)))
    assert data.take(torch.arange(2))["label"].tolist() == [3, 4]
    points = as_data(Pairs([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]))
    assert (
        isinstance(points, Arrays) and all_samples(points).tolist() == [[1, 2], [3, 4]] and points.class_count is None
    )
    tensors = as_data(TensorDataset(torch.eye(3), torch.tensor([2, 1, 0])))
    assert isinstance(tensors, Arrays) and torch.equal(all_samples(tensors), torch.eye(3)) and tensors.class_count == 3


@pytest.mark.parametrize(
    "labels",
    [[2, 0, 1], [[2], [0], [1]], [2.0, 0.0, 1.0], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.array([2, 0, 1], np.uint8)],
    ids=["numbers", "column", "whole floats", "one-hot", "uint8"],
)
def test_labels_may_have_any_usual_form(labels) -> None:
    array = np.asarray(labels)
    samples = torch.eye(3)
    for data in (
        Arrays(samples, array),
        Arrays(TensorDataset(samples, torch.from_numpy(array))),
        Arrays(Pairs([(sample, torch.from_numpy(array)[index]) for index, sample in enumerate(samples)])),
    ):
        assert data.take(torch.arange(3))["label"].tolist() == [2, 0, 1]


def test_targets_that_are_not_classes_are_left_out_with_a_warning() -> None:
    for source in (TensorDataset(torch.eye(3), torch.rand(3)), Pairs([(np.zeros(2), 0.5), (np.zeros(2), 0.7)])):
        with pytest.warns(UserWarning, match="labels are left out"):
            data = as_data(source)
        assert data.draw(1, generator()).keys() == {"real"}


def test_items_may_be_dictionaries() -> None:
    for sample, label in (("image", "label"), ("pixel_values", "labels"), ("x", "y")):
        data = as_data(Pairs([{"id": 7, sample: np.full(2, float(k)), label: k} for k in range(3)]))
        assert isinstance(data, Arrays) and all_samples(data)[:, 0].tolist() == [0, 1, 2] and data.class_count == 3
    with pytest.raises(InvalidValue, match=r"samples\[0\].*wave, speaker.*image"):
        as_data(Pairs([{"wave": np.zeros(2), "speaker": 0}]))


def test_labels_of_only_some_items_are_refused() -> None:
    with pytest.raises(InvalidValue, match="1 labels for 2 samples"):
        as_data(Pairs([(np.zeros(2), 1), (np.zeros(2),)]))


def test_palettes_and_mixed_modes_of_pillow_images() -> None:
    palette = Image.new("P", (8, 6), 1)
    palette.putpalette([0, 0, 0, 255, 40, 0] + [0] * 762)
    grey = Image.new("L", (8, 6), 7)
    store = Arrays(Pairs([palette, Image.new("RGBA", (8, 6), (1, 2, 3, 0)), grey])).arrays[0]
    assert store[:, :, 0, 0].tolist() == [[255, 40, 0], [1, 2, 3], [7, 7, 7]]
    assert Arrays(Pairs([grey, grey])).shape == (1, 6, 8)
    with pytest.raises(InvalidValue, match=r"samples\[1\]"):
        Arrays(Pairs([grey, palette]))


def test_a_mistyped_path_suggests_a_similar_one(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InvalidValue, match="fotos.*exists.*Did you mean .*photos"):
        as_data(tmp_path / "fotos")


def test_a_file_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(InvalidValue, match=r"weights\.pt.*\.npy or \.npz"):
        as_data(tmp_path / "weights.pt")


class Frame:
    """A data frame with only the attributes that are used, so that no test needs pandas."""

    def __init__(self, **columns) -> None:
        self.columns, self.values = list(columns), columns

    def __getitem__(self, name: str):
        return np.asarray(self.values[name])

    def to_numpy(self):
        return np.column_stack([np.asarray(values) for values in self.values.values()])


def test_data_frames_must_hold_numbers() -> None:
    data = Arrays(Frame(age=[3, 4], income=[1.5, 2.5]))  # pyright: ignore[reportArgumentType]
    assert all_samples(data).tolist() == [[3, 1.5], [4, 2.5]]
    with pytest.raises(InvalidValue, match="columns city"):
        Arrays(Frame(age=[3, 4], city=["a", "b"]))  # pyright: ignore[reportArgumentType]


def test_items_of_different_shapes_are_named() -> None:
    with pytest.raises(InvalidValue, match=r"samples\[1\].*\(3,\)"):
        as_data(Pairs([np.zeros(2), np.zeros(3)]))


def test_data_are_returned_unchanged_and_folders_opened(tmp_path: Path) -> None:
    ring = Ring()
    assert as_data(ring) is ring
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    assert isinstance(as_data(tmp_path), ImageFolder)


def test_ordinary_images_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Arrays(np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 1, 4, 4))


FORMS = [lambda x, y: (x, y), lambda x, y: {"real": x, "label": y}, lambda x, y: (x, y.tolist())]


@pytest.mark.parametrize("form", FORMS)
def test_samples_with_their_labels_are_data(form) -> None:
    samples, labels = torch.randn(6, 2), torch.arange(6) % 3
    data = as_data(form(samples, labels))
    assert isinstance(data, StoredData)
    taken = data.take(torch.tensor([4, 2]))
    assert torch.equal(taken["real"], samples[[4, 2]]) and taken["label"].tolist() == [1, 2]


def test_sets_are_known_by_name_as_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_data("ring") == members("data")["ring"]()
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    with pytest.raises(InvalidValue, match="detente data prepare cifar10-48"):
        as_data("cifar10-48")
    with pytest.raises(InvalidValue, match="a set without settings"):
        as_data("arrays")
