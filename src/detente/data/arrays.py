"""The user's own data: a tensor, array, data frame, memory-mapped file or torch Dataset."""

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
from detente.data.sources import SOURCES
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
    """The user's own samples, drawn independently and uniformly, with replacement.

    Samples of dtype uint8 are images: they are drawn as x / 127.5 - 1, channels first. The channel axis is the smaller
    of axes 1 and 3 (axis 1 if equal). Floating-point samples can have any shape, such as points (N, d), series
    (N, T, F), sound (N, C, T) or images. They keep their shape and values, which must be finite. Arrays are not copied;
    `.npy` files stay on disk, memory-mapped. A Dataset is read once, in order, so its random transforms are applied
    once.

    Args:
        samples: tensor, numpy array, data frame of numbers, torch Dataset, or path of a `.npy` or `.npz` file (keys
            samples, images, x, x_train; labels, label, y, y_train). An item of a Dataset is a sample, a sample and a
            label, or a dictionary with an image (image, img, pixel_values, x, …) and optionally a label (label, y, …).
        labels: one integer ≥ 0 for each sample, as (N,), (N, 1) or one-hot (N, K): tensor, array or path of a `.npy`
            file. None: the labels in `samples`, if any.

    Raises:
        InvalidValue: the samples have another form, or masked or non-finite values, or the labels do not match them.
    """

    samples: Tensor | np.ndarray | Dataset | str | Path
    labels: Tensor | np.ndarray | str | Path | None = None

    def __post_init__(self) -> None:
        _ = self.arrays  # read now, so that the constructor raises errors

    @cached_property
    def arrays(self) -> tuple[Store, Tensor | None]:
        samples, source_labels = _read("samples", self.samples)
        labels = None if source_labels is None else _included_labels(source_labels, len(samples))
        if self.labels is not None:
            labels = _to_labels(_read("labels", self.labels)[0], len(samples))
        store = _channels_first(samples)
        _check_values(store)
        return store, labels


def as_data(source: Any) -> Data:
    """Return `source` as data.

    A tensor, array, (samples, labels), {"real": samples, "label": labels}, Dataset, `.npy`/`.npz` path or folder of
    images is wrapped.

    Raises:
        InvalidValue: `source` is none of these.
    """
    if isinstance(source, Data):
        return source
    if hasattr(source, "class_path"):  # the command line could not build it; building it raises the error
        module, _, name = source.class_path.rpartition(".")
        return as_data(getattr(importlib.import_module(module), name)(**vars(source.init_args)))
    if isinstance(source, str | Path):
        path, sets = Path(source).expanduser(), members("data")  # by name, since data sets never import each other
        if not path.exists() and str(source) in sets:
            return _named(str(source), sets[str(source)])
        if not path.exists() and str(source).partition("-")[0] in SOURCES:
            return sets["prepared"](str(source))
        if not path.exists():
            similar = difflib.get_close_matches(path.name, _names_in(path.parent), n=1)
            hint = f"Did you mean {path.parent / similar[0]}?" if similar else ""
            allowed = "the path of a folder or file that exists, or a name from `detente list data`"
            raise InvalidValue("data", str(source), allowed, hint)
        if path.is_dir():
            return sets["image_folder"](path)
        return Arrays(path)
    if isinstance(source, Mapping) and "real" in source and source.keys() <= {"real", "label"}:
        return Arrays(source["real"], source.get("label"))
    if isinstance(source, tuple) and len(source) == 2:
        samples: Any
        samples, labels = source
        return Arrays(samples, np.asarray(labels) if isinstance(labels, list) else labels)
    other: Any = source
    return Arrays(other)


def _named(name: str, kind: type) -> Data:
    """Return the data set of a name, if it needs no settings."""
    try:
        return kind()
    except TypeError as error:
        raise InvalidValue("data", name, "a name of a set without settings, or an object", str(error)) from error


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _read(field: str, source: Any) -> tuple[Store, Store | None]:
    """Return the samples and labels in `source`."""
    if isinstance(source, str | Path):
        return _read_file(field, Path(source))
    if isinstance(source, TensorDataset):
        samples, *others = (_require_dense(field, tensor) for tensor in source.tensors)
        return samples, others[0] if others else None
    if isinstance(source, Dataset):
        return _read_dataset(field, source)
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        return _read_frame(field, source), None
    allowed = (
        "a tensor, numpy array, (samples, labels), torch Dataset, path of a .npy or .npz file or of a folder of images"
    )
    hint = "Make it dense: .toarray()" if hasattr(source, "toarray") else ""
    require(isinstance(source, Tensor | np.ndarray), field, source, allowed, hint)
    return (_require_dense(field, source) if isinstance(source, Tensor) else _require_unmasked(field, source)), None


def _read_frame(field: str, frame: Any) -> np.ndarray:
    """Return the values of a data frame, (rows, columns), floating point."""
    others = [str(name) for name in frame.columns if np.asarray(frame[name]).dtype.kind not in "fiub"]
    require(not others, field, f"columns {', '.join(others)}", "a data frame of numbers only", "Encode or drop them")
    values = frame.to_numpy()
    return values if values.dtype.kind == "f" else values.astype(np.float32)


def _require_unmasked(field: str, array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ma.MaskedArray):
        return array
    count = int(np.ma.count_masked(array))
    require(count == 0, field, f"an array with {count} masked values", "an array without missing values")
    return np.asarray(array)


def _require_dense(field: str, tensor: Tensor) -> Tensor:
    require(not tensor.requires_grad, field, "a tensor that requires grad", "a tensor without gradient", "Detach it")
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
    require(dense, field, f"a {kind} tensor", "a dense tensor", "Convert it with .to_dense() or .dequantize()")
    return tensor


def _read_file(field: str, path: Path) -> tuple[Store, Store | None]:
    require(path.is_file(), field, str(path), "a file that exists")
    hint = "For image files, give their folder; for tables, series and sound, write a file with numpy.save"
    require(path.suffix in (".npy", ".npz"), field, str(path), "a .npy or .npz file", hint)
    try:
        content = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, None
        with content:
            keys = [key for key in SAMPLE_KEYS if key in content] or (content.files if len(content.files) == 1 else [])
            require(bool(keys), field, content.files, f"an .npz file with one of the arrays {', '.join(SAMPLE_KEYS)}")
            labels = [content[key] for key in LABEL_KEYS if key in content and key not in keys]
            return content[keys[0]], labels[0] if labels else None
    except InvalidValue:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InvalidValue(field, str(path), "a readable file of numbers", f"Error: {error}") from error


def _read_dataset(field: str, dataset: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the samples of a Dataset, stacked, and its labels, if it has any."""
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    require(sized, field, dataset, "a Dataset with a length and indexed items", "Stack an iterable Dataset")
    require(len(dataset) > 0, field, dataset, "at least one sample")
    stacked, labels = np.empty(0), []
    for index in range(len(dataset)):
        sample, label = _sample_and_label(f"{field}[{index}]", dataset[index])
        value = _sample_array(field, sample, stacked if index else None)
        if index == 0:
            stacked = np.empty((len(dataset), *value.shape), value.dtype)
        matches = value.shape == stacked.shape[1:] and value.dtype == stacked.dtype
        first = f"the {stacked.shape[1:]} {stacked.dtype} of item 0"
        require(matches, f"{field}[{index}]", f"{value.shape} {value.dtype}", first, "Resize or crop in the Dataset")
        stacked[index] = value
        labels += [] if label is None else [np.asarray(label)]
    if not labels:
        return stacked, None
    complete = len(labels) == len(stacked) and len({label.shape for label in labels}) == 1
    shapes = f"{len(labels)} labels for {len(stacked)} samples, of shapes {sorted({label.shape for label in labels})}"
    require(complete, f"{field}: label", shapes, "labels of the same shape for all samples, or no labels")
    return stacked, np.stack(labels)


def _sample_and_label(where: str, item: Any) -> tuple[Any, Any]:
    """Return the sample and the label (None if there is none) of an item of a Dataset."""
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


def _sample_array(field: str, sample: Any, earlier: np.ndarray | None) -> np.ndarray:
    """Return a sample as an array; a Pillow image of any mode becomes grey or RGB, to match `earlier` samples."""
    if isinstance(sample, Tensor):
        return _require_dense(field, sample).cpu().numpy()
    if isinstance(sample, Image.Image):
        grey = sample.mode in ("1", "L", "LA", "La") or sample.mode.startswith("I")
        grey = grey and (earlier is None or earlier.ndim == 3)  # grey images among colour images become RGB
        array = pixels(sample, 1 if grey else 3)
        return array[..., 0] if grey else array
    return _require_unmasked(field, np.asanyarray(sample))


def _channels_first(store: Store) -> Store:
    """Return uint8 images as a view (N, C, H, W), and floating-point samples unchanged."""
    floating = store.is_floating_point() if isinstance(store, Tensor) else store.dtype.kind == "f"
    images = store.dtype in (torch.uint8, np.uint8)
    shown = f"{tuple(store.shape)} {store.dtype}"
    hint = "Convert integers to uint8 (pixels 0 … 255) or float32 (points); give single numbers as (N, 1)"
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
    """Raise `InvalidValue` unless all values are finite. Memory-mapped arrays are read in chunks."""
    if store.dtype in (torch.uint8, np.uint8):
        return
    rows = max(1, 2**22 // int(np.prod(store.shape[1:])))
    low, high = np.inf, -np.inf
    for start in range(0, len(store), rows):
        chunk = store[start : start + rows]
        smallest, largest = float(chunk.min()), float(chunk.max())  # NaN if any value is NaN
        finite = abs(smallest) <= torch.finfo(torch.float32).max and abs(largest) <= torch.finfo(torch.float32).max
        where = f"samples[{start}:{start + len(chunk)}]"
        require(finite, where, f"values from {smallest:g} to {largest:g}", "finite numbers within the range of float32")
        low, high = min(low, smallest), max(high, largest)
    if store.ndim == 4 and store.shape[1] in (1, 3) and low >= 0 and 0 < high <= 1:
        text = f"samples: images from {low:g} to {high:g} look like [0, 1]; generators that end in tanh reach [-1, 1]"
        warnings.warn(text, stacklevel=2)


def _to_labels(labels: Any, count: int) -> Tensor:
    """Return labels as (count,) int64.

    Raises:
        InvalidValue: the labels are not one integer ≥ 0 for each sample.
    """
    if isinstance(labels, Tensor):
        labels = _require_dense("labels", labels).cpu().numpy()
    array = np.asarray(_require_unmasked("labels", labels))
    one_hot = array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "fiub"
    if one_hot and bool(np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
        array = array.argmax(1)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    require(array.shape == (count,), "labels", f"shape {array.shape}", f"({count},), one label for each sample")
    numbers = array.dtype.kind in "iub" or array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    example = next((value for value in array.tolist() if not numbers or value < 0), array[0])
    valid = numbers and float(array.min()) >= 0 and float(array.max()) < 2**63
    require(valid, "labels", f"{array.dtype}, e.g. {example}", "integers, at least 0")
    return torch.from_numpy(array.astype(np.int64))


def _included_labels(labels: Any, count: int) -> Tensor | None:
    """Return the labels in a source of samples; None, with a warning, if they are not classes."""
    try:
        return _to_labels(labels, count)
    except InvalidValue as error:
        warnings.warn(f"the labels are left out, since they are not classes ({error})", stacklevel=6)
        return None
