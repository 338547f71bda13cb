"""Your own data: a tensor, an array, a memory-mapped file or a torch Dataset of points or images."""

from __future__ import annotations

import importlib
import warnings
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from detente.catalogue import members
from detente.data.base import Data, StoredData
from detente.errors import InvalidValue, require

Store = Tensor | np.ndarray
SAMPLE_KEYS = ("samples", "images", "x", "x_train", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "y_train", "arr_1")
FORMS = "points (N, d), floating point, or images (N, H, W), (N, H, W, C), (N, C, H, W), uint8 or floating point"


@dataclass(frozen=True, eq=False)
class Arrays(StoredData):
    """Points or images that you hold, drawn independently and uniformly, with replacement.

    uint8 images: x / 127.5 - 1, when drawn. Floating-point images must lie in [-1, 1] already; points are any finite
    numbers. Channels are the smaller of axes 1 and 3 (axis 1 if equal). Arrays are not copied; `.npy` files stay on
    disk, memory-mapped. A Dataset is read once, in order, so its random transforms are applied once.

    Args:
        samples: tensor, numpy array, torch Dataset (its items a sample, or a sample and an integer label), or the path
            of a `.npy` or `.npz` file (keys samples, images, x, x_train; labels, label, y, y_train).
        labels: one whole number, at least 0, for each sample; tensor, array or path of a `.npy` file; None for those
            that `samples` brings, if any.

    Raises:
        InvalidValue: for another form, numbers that are not finite, images out of range, labels that do not fit.
    """

    samples: Tensor | np.ndarray | Dataset | str | Path
    labels: Tensor | np.ndarray | str | Path | None = None

    def __post_init__(self) -> None:
        _ = self.arrays  # so that a mistake shows when the object is built

    @cached_property
    def arrays(self) -> tuple[Store, Tensor | None]:
        samples, labels = _read("samples", self.samples)
        if self.labels is not None:
            labels = _read("labels", self.labels)[0]
        store = _channels_first(samples)
        _check_values(store)
        return store, None if labels is None else _checked_labels(labels, len(store))


def as_data(source: Any) -> Data:
    """Return `source` as data: itself, or a tensor, array, Dataset, `.npy`/`.npz` path or folder of images, wrapped.

    Raises:
        InvalidValue: where that is impossible.
    """
    if isinstance(source, Data):
        return source
    if hasattr(source, "class_path"):  # a member that the command line could not build: built again, it says why
        module, _, name = source.class_path.rpartition(".")
        return as_data(getattr(importlib.import_module(module), name)(**vars(source.init_args)))
    if isinstance(source, str | Path) and Path(source).is_dir():
        return members("data")["image_folder"](source)  # by name: a sibling is never imported
    return Arrays(source)


def _read(field: str, source: Any) -> tuple[Store, Store | None]:
    """Return the samples and the labels found in `source`."""
    if isinstance(source, str | Path):
        return _read_file(field, Path(source))
    if isinstance(source, TensorDataset):
        samples, *rest = (_plain(field, tensor) for tensor in source.tensors)
        classes = bool(rest) and rest[0].ndim == 1 and not rest[0].is_floating_point()
        return samples, rest[0] if classes else None
    if isinstance(source, Dataset):
        return _read_dataset(field, source)
    allowed = "a tensor, numpy array, torch Dataset, path of a .npy or .npz file, or (as_data) of a folder of images"
    require(isinstance(source, Tensor | np.ndarray), field, source, allowed)
    return (_plain(field, source) if isinstance(source, Tensor) else source), None


def _plain(field: str, tensor: Tensor) -> Tensor:
    require(not tensor.requires_grad, field, "a tensor that requires grad", "data, which are not learnt", "Detach it")
    return tensor


def _read_file(field: str, path: Path) -> tuple[Store, Store | None]:
    require(
        path.suffix in (".npy", ".npz"), field, str(path), "a .npy or .npz file", "For images in files: ImageFolder"
    )
    require(path.is_file(), field, str(path), "a file that exists")
    try:
        found = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found, None
        with found:
            keys = [key for key in SAMPLE_KEYS if key in found] or (found.files if len(found.files) == 1 else [])
            require(bool(keys), field, found.files, f"an .npz file with one of the arrays {', '.join(SAMPLE_KEYS)}")
            labels = [found[key] for key in LABEL_KEYS if key in found and key not in keys]
            return found[keys[0]], labels[0] if labels else None
    except InvalidValue:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InvalidValue(field, str(path), "a readable file of numbers", f"It says: {error}") from error


def _read_dataset(field: str, dataset: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return every item of `dataset`, stacked, and the labels if each item has one."""
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    require(sized, field, dataset, "a Dataset with a length and items by index", "Stack the items of an iterable one")
    require(len(dataset) > 0, field, dataset, "at least one sample")
    stacked, labels = np.empty(0), []
    for index in range(len(dataset)):
        item = dataset[index]
        sample, label = (
            (item[0], item[1] if len(item) > 1 else None) if isinstance(item, tuple | list) else (item, None)
        )
        value = _plain(field, sample).cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
        if index == 0:
            stacked = np.empty((len(dataset), *value.shape), value.dtype)
        same = value.shape == stacked.shape[1:] and value.dtype == stacked.dtype
        first = f"the {stacked.shape[1:]} {stacked.dtype} of item 0"
        require(same, f"{field}[{index}]", f"{value.shape} {value.dtype}", first, "Resize or crop in the Dataset")
        stacked[index] = value
        whole = label is not None and np.ndim(label) == 0 and np.issubdtype(np.asarray(label).dtype, np.integer)
        labels += [int(np.asarray(label))] if whole else []
    return stacked, np.array(labels) if len(labels) == len(dataset) else None


def _channels_first(store: Store) -> Store:
    """Return a view of `store` as points (N, d) or images (N, C, H, W)."""
    floating = store.is_floating_point() if isinstance(store, Tensor) else store.dtype.kind == "f"
    pixels = store.dtype in (torch.uint8, np.uint8)
    shown = f"{tuple(store.shape)} {store.dtype}"
    hint = "Make whole numbers uint8 (pixels 0 … 255) or float32 (points); give single numbers as (N, 1)"
    require(floating and store.ndim in (2, 3, 4) or pixels and store.ndim in (3, 4), "samples", shown, FORMS, hint)
    require(0 not in store.shape, "samples", shown, "at least one sample, and no empty axis")
    if store.ndim == 3:
        return store[:, None]
    if store.ndim == 4 and store.shape[3] < store.shape[1]:
        return store.permute(0, 3, 1, 2) if isinstance(store, Tensor) else store.transpose(0, 3, 1, 2)
    return store


def _check_values(store: Store) -> None:
    """Refuse numbers that are not finite and images out of range, reading a memory-mapped array piece by piece."""
    if store.dtype in (torch.uint8, np.uint8):
        return
    rows = max(1, 2**22 // int(np.prod(store.shape[1:])))
    low, high = np.inf, -np.inf
    for start in range(0, len(store), rows):
        piece = store[start : start + rows]
        least, most = float(piece.min()), float(piece.max())  # both are NaN if any number is
        finite = abs(least) <= torch.finfo(torch.float32).max and abs(most) <= torch.finfo(torch.float32).max
        where = f"samples[{start}:{start + len(piece)}]"
        require(finite, where, f"values from {least:g} to {most:g}", "finite numbers within the range of float32")
        low, high = min(low, least), max(high, most)
    if store.ndim == 4:
        hint = "Give uint8 pixels, or map them, e.g. 2 * x - 1 from [0, 1]"
        allowed = "floating-point images in [-1, 1]"
        require(-1 <= low and high <= 1, "samples", f"images from {low:g} to {high:g}", allowed, hint)
        if low >= 0 and high > 0:
            text = (
                f"samples: images from {low:g} to {high:g} look like [0, 1]; generators that end in tanh reach [-1, 1]"
            )
            warnings.warn(text, stacklevel=2)


def _checked_labels(labels: Store, count: int) -> Tensor:
    array = _plain("labels", labels).cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    require(array.shape == (count,), "labels", f"shape {array.shape}", f"({count},), one label for each sample")
    least = int(array.min()) if array.dtype.kind in "iu" else -1
    require(least >= 0, "labels", f"{array.dtype}, e.g. {array[0]}", "whole numbers, at least 0")
    return torch.from_numpy(array.astype(np.int64))
