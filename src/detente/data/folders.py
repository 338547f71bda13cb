"""Images in a folder of your own, in any format that Pillow reads, read once into one uint8 array."""

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
from detente.data.files import Layout, counted, files_below, split_named
from detente.data.pictures import BROKEN, decoded, several_frames, suffixes
from detente.errors import InvalidValue, require

PATIENCE = 2.0


@dataclass(frozen=True)
class ImageFolder(StoredData):
    """The images below a folder, as (channels, resolution, resolution) in [-1, 1]; sub-folder names become labels.

    Files are read in the order of their paths, symbolic links followed. Sub-folders that are all called like splits
    (train, val, test, …) are splits, of which one is read. If every image lies in a sub-folder, there or at the top,
    and there are at least two of these, label k is the k-th of them by name (`class_names`); otherwise there are no
    labels. Transparency is dropped; 16-bit images keep their upper 8 bits; of several frames the first is read. A
    warning says what is left out; hidden files are left out without one.

    Args:
        path: the folder.
        resolution: height and width in pixels, at least 1: the shorter side is resized to it (bicubic) and the middle
            cropped. None keeps the files' own size, which must then be the same for all.
        channels: 3 (red, green, blue) or 1 (grey).
        skip_broken: leave out files that cannot be read (they are listed in `skipped`) instead of refusing.
        split: which split to read where the folder has splits: "train", "validation" or "test"; None: all of them.

    Raises:
        InvalidValue: for a folder without images or without the split, folders of which only some are called like
            splits, a broken file, or files of different sizes without `resolution`.
    """

    path: str | Path
    resolution: int | None = None
    channels: Literal[1, 3] = 3
    skip_broken: bool = False
    split: str | None = "train"

    def __post_init__(self) -> None:
        valid = self.resolution is None or type(self.resolution) is int and self.resolution >= 1
        require(valid, "resolution", self.resolution, "None, or a whole number of pixels, at least 1")
        require(self.channels in (1, 3), "channels", self.channels, "1 or 3")
        require(Path(self.path).is_dir(), "path", str(self.path), "a folder that exists")
        known = self.split is None or split_named(self.split) is not None
        require(known, "split", self.split, "train, validation or test, or None for all")
        _ = self._read  # so that a broken file shows when the object is built

    @property
    def arrays(self) -> tuple[Tensor, Tensor | None]:
        return self._read[0], self._read[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the sub-folders in the order of the labels; empty where there are no labels."""
        return self._read[2]

    @property
    def class_count(self) -> int | None:
        """Number of class folders, or None where there are no labels."""
        return len(self.class_names) or None

    @property
    def skipped(self) -> tuple[Path, ...]:
        """Files that could not be read."""
        return self._read[3]

    @cached_property
    def _read(self) -> tuple[Tensor, Tensor | None, tuple[str, ...], tuple[Path, ...]]:
        folder = Path(self.path)
        present = files_below(folder)
        files = [file for file in present if file.suffix.lower() in suffixes()]
        others = [file for file in present if file.suffix.lower() not in suffixes()]
        hint = f"It holds {counted(others)}" if others else "It is empty"
        require(bool(files), "path", str(folder), "a folder with image files (.png, .jpg, …) in it or below it", hint)
        layout = Layout.of(folder, files, "path")
        chosen = self._chosen(layout)
        labels = None if layout.labels is None else [layout.labels[index] for index in chosen]
        files = [files[index] for index in chosen]
        for text in (
            f"left out, since they are no images: {counted(others)}" if others else "",
            f"class folders without an image: {', '.join(layout.empty)}" if layout.empty else "",
            "sub-folders are not taken for classes, since there are images outside of them" if layout.stray else "",
            f"only the first frame is read of {counted(moving)}"
            if (moving := [file for file in files if several_frames(file)])
            else "",
        ):
            if text:
                warnings.warn(f"{folder}: {text}", stacklevel=4)
        images: np.ndarray = np.empty(0, np.uint8)
        kept: list[Path] = []
        skipped: list[Path] = []
        for file, image in self._decoded(files):
            if isinstance(image, Exception):
                hint = f"skip_broken=True leaves it out. It says: {image}"
                require(self.skip_broken, "path", str(file), "an image that can be read", hint)
                skipped.append(file)
                continue
            if not kept:
                images = np.empty((len(files), *image.shape), np.uint8)
            allowed = f"the {images.shape[1:3]} of {kept[0]}" if kept else ""
            hint = "resolution=… makes all the same"
            require(image.shape == images.shape[1:], "path", f"{file} {image.shape[:2]}", allowed, hint)
            images[len(kept)] = image
            kept.append(file)
        require(bool(kept), "path", str(folder), "at least one image that can be read")
        stored = torch.from_numpy(images[: len(kept)]).permute(0, 3, 1, 2)
        if labels is None:
            return stored, None, (), tuple(skipped)
        label_of = dict(zip(files, labels, strict=True))
        return stored, torch.tensor([label_of[file] for file in kept]), layout.classes, tuple(skipped)

    def _chosen(self, layout: Layout) -> list[int]:
        """Return which files are of the split, by their place, and warn of those that are not."""
        everything = list(range(len(layout.splits)))
        if self.split is None or not any(layout.splits):
            return everything
        split = split_named(self.split)
        counts = {str(name): layout.splits.count(name) for name in dict.fromkeys(layout.splits)}
        if split not in counts:
            allowed = f"one of the splits there: {', '.join(counts)}, or None for all of them"
            raise InvalidValue("split", self.split, allowed)
        others = ", ".join(f"{name} ({count} images)" for name, count in counts.items() if name != split)
        if others:
            text = (
                f"{self.path}: the split {split} is read ({counts[split]} images), not {others}; split=None reads all"
            )
            warnings.warn(text, stacklevel=5)
        return [index for index in everything if layout.splits[index] == split]

    def _decoded(self, files: list[Path]) -> Iterator[tuple[Path, np.ndarray | Exception]]:
        """Yield every file with its pixels, or with what was wrong; show progress where this takes long."""
        start = time.monotonic()
        progress = Progress(console=Console(stderr=True), transient=True)
        task = progress.add_task("reading images", total=len(files))
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))  # Pillow decodes outside the interpreter's lock
        try:
            for file, image in zip(files, pool.map(self._decode, files), strict=True):
                yield file, image
                progress.advance(task)
                if not progress.live.is_started and time.monotonic() - start > PATIENCE:
                    progress.start()
        finally:
            if progress.live.is_started:
                progress.stop()
            pool.shutdown(cancel_futures=True)

    def _decode(self, file: Path) -> np.ndarray | Exception:
        try:
            return decoded(file, self.channels, self.resolution)
        except BROKEN as error:
            return error
