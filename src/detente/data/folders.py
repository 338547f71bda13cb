"""Images in a folder, in any format that Pillow decodes, read once into one uint8 array."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from detente.data.base import StoredData
from detente.data.files import FolderLayout, describe_files, files_below, split_from_name
from detente.data.pictures import DECODING_ERRORS, decode_image, has_several_frames, image_suffixes
from detente.errors import InvalidValue, require

PROGRESS_DELAY = 2.0  # seconds before a progress bar is shown


@dataclass(frozen=True)
class ImageFolder(StoredData):
    """The images below a folder, as (channels, resolution, resolution) in [-1, 1], with sub-folders as labels.

    Files are read in the order of their paths, and symbolic links are followed. If all sub-folders are named like
    splits (train, val, test, …), they are splits, and only one is read. If every image is in a sub-folder of the folder
    or of a split, and there are at least two sub-folders, they are the classes: label k is the k-th of them by name
    (`class_names`). Otherwise there are no labels. Transparency is removed, 16-bit images keep their upper 8 bits, and
    only the first frame of an animation is read. A warning names files that are left out, except hidden files.

    Args:
        path: the folder.
        resolution: height and width in pixels, at least 1: the shorter side is resized to it (bicubic), then the centre
            is cropped. None: images keep their size, which must be the same for all.
        channels: 3 (red, green, blue) or 1 (grey).
        skip_broken: skip files that cannot be read and list them in `skipped`, instead of raising an error.
        split: the split to read if the folder has splits: "train", "validation" or "test"; None: all of them.

    Raises:
        InvalidValue: there are no images, the split does not exist, only some sub-folders are named like splits, a file
            is broken, or images differ in size and `resolution` is None.
    """

    path: str | Path
    resolution: int | None = None
    channels: Literal[1, 3] = 3
    skip_broken: bool = False
    split: str | None = "train"

    def __post_init__(self) -> None:
        valid = self.resolution is None or type(self.resolution) is int and self.resolution >= 1
        require(valid, "resolution", self.resolution, "None, or an integer, at least 1")
        require(self.channels in (1, 3), "channels", self.channels, "1 or 3")
        require(Path(self.path).is_dir(), "path", str(self.path), "a folder that exists")
        valid = self.split is None or split_from_name(self.split) is not None
        require(valid, "split", self.split, "train, validation or test, or None for all")
        _ = self._read  # read now, so that the constructor raises errors

    @property
    def arrays(self) -> tuple[Tensor, Tensor | None]:
        return self._read[0], self._read[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the sub-folders in the order of the labels; empty if there are no labels."""
        return self._read[2]

    @property
    def class_count(self) -> int | None:
        """Number of class folders, or None if there are no labels."""
        return len(self.class_names) or None

    @property
    def skipped(self) -> tuple[Path, ...]:
        """Files that could not be read."""
        return self._read[3]

    @cached_property
    def _read(self) -> tuple[Tensor, Tensor | None, tuple[str, ...], tuple[Path, ...]]:
        folder = Path(self.path)
        every_file = files_below(folder)
        files = [file for file in every_file if file.suffix.lower() in image_suffixes()]
        others = [file for file in every_file if file.suffix.lower() not in image_suffixes()]
        hint = f"It contains {describe_files(others)}" if others else "It is empty"
        require(bool(files), "path", str(folder), "a folder with image files (.png, .jpg, …) in it or below it", hint)
        layout = FolderLayout.of(folder, files, "path")
        indices = self._split_indices(layout)
        labels = None if layout.labels is None else [layout.labels[index] for index in indices]
        files = [files[index] for index in indices]
        animated = [file for file in files if has_several_frames(file)]
        for text in (
            f"left out, since they are not images: {describe_files(others)}" if others else "",
            f"class folders without an image: {', '.join(layout.empty)}" if layout.empty else "",
            "sub-folders are not classes, since there are images outside of them" if layout.stray else "",
            f"only the first frame is read of {describe_files(animated)}" if animated else "",
        ):
            if text:
                warnings.warn(f"{folder}: {text}", stacklevel=4)
        images: np.ndarray = np.empty(0, np.uint8)
        read_files: list[Path] = []
        skipped: list[Path] = []
        for file, image in self._decoded(files):
            if isinstance(image, Exception):
                hint = f"Use skip_broken=True to skip it. Error: {image}"
                require(self.skip_broken, "path", str(file), "a readable image", hint)
                skipped.append(file)
                continue
            if not read_files:
                images = np.empty((len(files), *image.shape), np.uint8)
            allowed = f"the {images.shape[1:3]} of {read_files[0]}" if read_files else ""
            hint = "Use resolution=… to resize all images"
            require(image.shape == images.shape[1:], "path", f"{file} {image.shape[:2]}", allowed, hint)
            images[len(read_files)] = image
            read_files.append(file)
        require(bool(read_files), "path", str(folder), "at least one image that is readable")
        stored = torch.from_numpy(images[: len(read_files)]).permute(0, 3, 1, 2)
        if labels is None:
            return stored, None, (), tuple(skipped)
        label_of = dict(zip(files, labels, strict=True))
        return stored, torch.tensor([label_of[file] for file in read_files]), layout.classes, tuple(skipped)

    def _split_indices(self, layout: FolderLayout) -> list[int]:
        """Return the indices of the files of the split, and warn about the other splits."""
        indices = list(range(len(layout.splits)))
        if self.split is None or not any(layout.splits):
            return indices
        split = split_from_name(self.split)
        counts = {str(name): layout.splits.count(name) for name in dict.fromkeys(layout.splits)}
        if split not in counts:
            allowed = f"one of its splits: {', '.join(counts)}, or None for all of them"
            raise InvalidValue("split", self.split, allowed)
        others = ", ".join(f"{name} ({count} images)" for name, count in counts.items() if name != split)
        if others:
            text = f"the split {split} is read ({counts[split]} images), not {others}; split=None reads all"
            warnings.warn(f"{self.path}: {text}", stacklevel=5)
        return [index for index in indices if layout.splits[index] == split]

    def _decoded(self, files: list[Path]) -> Iterator[tuple[Path, np.ndarray | Exception]]:
        """Yield each file with its pixels or its error; show a progress bar if decoding takes long."""
        start = time.monotonic()
        progress = Progress(console=Console(stderr=True), transient=True)
        task = progress.add_task("reading images", total=len(files))
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))  # Pillow releases the interpreter's lock to decode
        try:
            for file, image in zip(files, pool.map(self._decode, files), strict=True):
                yield file, image
                progress.advance(task)
                if not progress.live.is_started and time.monotonic() - start > PROGRESS_DELAY:
                    progress.start()
        finally:
            if progress.live.is_started:
                progress.stop()
            pool.shutdown(cancel_futures=True)

    def _decode(self, file: Path) -> np.ndarray | Exception:
        try:
            return decode_image(file, self.channels, self.resolution)
        except DECODING_ERRORS as error:
            return error
