"""Your own data: a tensor, an array, a data frame, a memory-mapped file or a torch Dataset."""

from __future__ import annotations

import difflib
import importlib
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from detente.data.base import Data, StoredData
from detente.data.pictures import pixels
from detente.errors import InvalidValue, require
from detente.registry import members

Store = Tensor | np.ndarray
SAMPLE_KEYS = ("samples", "images", "x", "x_train", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "y_train", "arr_1")
ITEM_SAMPLES = ("image", "images", "img", "pixel_values", "sample", "samples", "x", "input", "inputs", "data", "real")
ITEM_LABELS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
FORMS = "floating-point samples (N, …), or uint8 images (N, H, W), (N, H, W, C) or (N, C, H, W)"


@dataclass(frozen=True, eq=False)
class Arrays(StoredData):
    """Samples that you hold, drawn independently and uniformly, with replacement.

    Whole numbers of one byte (uint8) are images: they are drawn as x / 127.5 - 1, channels first; their channels are
    the smaller of axes 1 and 3 (axis 1 if equal). Floating-point samples of any shape, such as points (N, d), series
    (N, T, F), sound (N, C, T) or images, keep their shape, their axes and their numbers, which must be finite. Arrays
    are not copied; `.npy` files stay on disk, memory-mapped. A Dataset is read once, in order, so its random
    transforms are applied once.

    Args:
        samples: tensor, numpy array, data frame of numbers, torch Dataset, or the path of a `.npy` or `.npz` file (keys
            samples, images, x, x_train; labels, label, y, y_train). A Dataset's items are a sample, a sample and a
            label, or a dictionary with an image (image, img, pixel_values, x, …) and perhaps a label (label, y, …).
        labels: one whole number, at least 0, for each sample, as (N,), (N, 1) or one-hot (N, K); tensor, array or path
            of a `.npy` file; None for those that `samples` brings, if any.

    Raises:
        InvalidValue: for another form, numbers that are masked or not finite, labels that do not fit.
    """

    samples: Tensor | np.ndarray | Dataset | str | Path
    labels: Tensor | np.ndarray | str | Path | None = None

    def __post_init__(self) -> None:
        _ = self.arrays  # so that a mistake shows when the object is built

    @cached_property
    def arrays(self) -> tuple[Store, Tensor | None]:
        samples, found = _read("samples", self.samples)
        labels = None if found is None else _brought_labels(found, len(samples))
        if self.labels is not None:
            labels = _labels_of(_read("labels", self.labels)[0], len(samples))
        store = _channels_first(samples)
        _check_values(store)
        return store, labels


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
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if not path.exists():
            near = difflib.get_close_matches(path.name, _names_in(path.parent), n=1)
            hint = f"Did you mean {path.parent / near[0]}?" if near else ""
            allowed = "the path of a folder or file that exists, or a name from `detente list data`"
            raise InvalidValue("data", str(source), allowed, hint)
        if path.is_dir():
            return members("data")["image_folder"](path)  # by name: a sibling is never imported
        return Arrays(path)
    return Arrays(source)


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _read(field: str, source: Any) -> tuple[Store, Store | None]:
    """Return the samples and the labels found in `source`."""
    if isinstance(source, str | Path):
        return _read_file(field, Path(source))
    if isinstance(source, TensorDataset):
        samples, *rest = (_plain(field, tensor) for tensor in source.tensors)
        return samples, rest[0] if rest else None
    if isinstance(source, Dataset):
        return _read_dataset(field, source)
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        return _read_frame(field, source), None
    allowed = "a tensor, numpy array, torch Dataset, path of a .npy or .npz file, or (as_data) of a folder of images"
    hint = "Make it dense: .toarray()" if hasattr(source, "toarray") else ""
    require(isinstance(source, Tensor | np.ndarray), field, source, allowed, hint)
    return (_plain(field, source) if isinstance(source, Tensor) else _unmasked(field, source)), None


def _read_frame(field: str, frame: Any) -> np.ndarray:
    """Return the numbers of a data frame, (rows, columns), floating point."""
    words = [str(name) for name in frame.columns if np.asarray(frame[name]).dtype.kind not in "fiub"]
    require(not words, field, f"columns {', '.join(words)}", "a data frame of numbers alone", "Encode or drop them")
    numbers = frame.to_numpy()
    return numbers if numbers.dtype.kind == "f" else numbers.astype(np.float32)


def _unmasked(field: str, array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ma.MaskedArray):
        return array
    count = int(np.ma.count_masked(array))
    require(count == 0, field, f"an array with {count} masked numbers", "an array without missing numbers")
    return np.asarray(array)


def _plain(field: str, tensor: Tensor) -> Tensor:
    require(not tensor.requires_grad, field, "a tensor that requires grad", "data, which are not learnt", "Detach it")
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
    require(dense, field, f"a {kind} tensor", "a dense tensor", "Make it one with .to_dense() or .dequantize()")
    return tensor


def _read_file(field: str, path: Path) -> tuple[Store, Store | None]:
    require(path.is_file(), field, str(path), "a file that exists")
    hint = "For images in files give their folder; for tables, series and sound numpy.save writes such a file"
    require(path.suffix in (".npy", ".npz"), field, str(path), "a .npy or .npz file", hint)
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
        sample, label = _sample_and_label(f"{field}[{index}]", dataset[index])
        value = _numbers(field, sample, stacked if index else None)
        if index == 0:
            stacked = np.empty((len(dataset), *value.shape), value.dtype)
        same = value.shape == stacked.shape[1:] and value.dtype == stacked.dtype
        first = f"the {stacked.shape[1:]} {stacked.dtype} of item 0"
        require(same, f"{field}[{index}]", f"{value.shape} {value.dtype}", first, "Resize or crop in the Dataset")
        stacked[index] = value
        labels += [] if label is None else [np.asarray(label)]
    if not labels:
        return stacked, None
    alike = len(labels) == len(stacked) and len({label.shape for label in labels}) == 1
    shapes = f"{len(labels)} labels for {len(stacked)} samples, of shapes {sorted({label.shape for label in labels})}"
    require(alike, f"{field}: label", shapes, "a label of one shape with every sample, or with none")
    return stacked, np.stack(labels)


def _sample_and_label(where: str, item: Any) -> tuple[Any, Any]:
    """Return the sample and the label (None where there is none) of an item of a Dataset."""
    if is_dataclass(item) and not isinstance(item, type):
        item = vars(item)
    if isinstance(item, Mapping):
        samples = [key for key in ITEM_SAMPLES if key in item] or (list(item) if len(item) == 1 else [])
        allowed = f"an item with the sample under one of {', '.join(ITEM_SAMPLES)}; or a sample, or (sample, label)"
        require(bool(samples), where, f"a dictionary with {', '.join(map(str, item))}", allowed)
        labels = [key for key in ITEM_LABELS if key in item]
        return item[samples[0]], item[labels[0]] if labels else None
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _numbers(field: str, sample: Any, earlier: np.ndarray | None) -> np.ndarray:
    """Return a sample as an array; of a Pillow image the colours, whatever the mode they are stored in."""
    if isinstance(sample, Tensor):
        return _plain(field, sample).cpu().numpy()
    if isinstance(sample, Image.Image):
        grey = sample.mode in ("1", "L", "LA", "La") or sample.mode.startswith("I")
        grey = grey and (earlier is None or earlier.ndim == 3)  # grey among colours becomes a colour
        array = pixels(sample, 1 if grey else 3)
        return array[..., 0] if grey else array
    return _unmasked(field, np.asanyarray(sample))


def _channels_first(store: Store) -> Store:
    """Return uint8 images as a view (N, C, H, W), and floating-point samples as they are."""
    floating = store.is_floating_point() if isinstance(store, Tensor) else store.dtype.kind == "f"
    images = store.dtype in (torch.uint8, np.uint8)
    shown = f"{tuple(store.shape)} {store.dtype}"
    hint = "Make whole numbers uint8 (pixels 0 … 255) or float32 (points); give single numbers as (N, 1)"
    require(floating and store.ndim >= 2 or images and store.ndim in (3, 4), "samples", shown, FORMS, hint)
    require(0 not in store.shape, "samples", shown, "at least one sample, and no empty axis")
    if not images:
        return store
    if store.ndim == 3:
        return store[:, None]
    if store.shape[3] < store.shape[1]:
        return store.permute(0, 3, 1, 2) if isinstance(store, Tensor) else store.transpose(0, 3, 1, 2)
    return store


def _check_values(store: Store) -> None:
    """Refuse numbers that are not finite, reading a memory-mapped array piece by piece."""
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
    if store.ndim == 4 and store.shape[1] in (1, 3) and low >= 0 and 0 < high <= 1:
        text = f"samples: images from {low:g} to {high:g} look like [0, 1]; generators that end in tanh reach [-1, 1]"
        warnings.warn(text, stacklevel=2)


def _labels_of(labels: Any, count: int) -> Tensor:
    """Return labels as (count,) int64.

    Raises:
        InvalidValue: they are not whole numbers, at least 0, one for each sample.
    """
    array = _plain("labels", labels).cpu().numpy() if isinstance(labels, Tensor) else _unmasked("labels", labels)
    array = np.asarray(array)
    one_hot = array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "fiub"
    if one_hot and bool(np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
        array = array.argmax(1)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    require(array.shape == (count,), "labels", f"shape {array.shape}", f"({count},), one label for each sample")
    numbers = array.dtype.kind in "iub" or array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    example = next((value for value in array.tolist() if not numbers or value < 0), array[0])
    valid = numbers and float(array.min()) >= 0 and float(array.max()) < 2**63
    require(valid, "labels", f"{array.dtype}, e.g. {example}", "whole numbers, at least 0")
    return torch.from_numpy(array.astype(np.int64))


def _brought_labels(labels: Any, count: int) -> Tensor | None:
    """Return the labels that came with the samples; None, with a warning, where they are no classes."""
    try:
        return _labels_of(labels, count)
    except InvalidValue as error:
        warnings.warn(f"the labels are left out, since they are no classes ({error})", stacklevel=6)
        return None
