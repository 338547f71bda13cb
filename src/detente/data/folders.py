"""Images in a folder of your own: png, jpg and webp files, read once into one uint8 array."""

from __future__ import annotations

import os
import time
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
from detente.data.pictures import BROKEN, SUFFIXES, decoded
from detente.errors import require

PATIENCE = 2.0


@dataclass(frozen=True)
class ImageFolder(StoredData):
    """The images below a folder, as (channels, resolution, resolution) in [-1, 1]; sub-folder names become labels.

    Files are read in the order of their paths. If every image lies in a sub-folder and there are at least two of
    these, label k is the k-th sub-folder by name (`class_names`); otherwise there are no labels. Hidden files are left
    out; transparency is dropped; 16-bit images keep their upper 8 bits.

    Args:
        path: the folder.
        resolution: height and width in pixels, at least 1: the shorter side is resized to it (bicubic) and the middle
            cropped. None keeps the files' own size, which must then be the same for all.
        channels: 3 (red, green, blue) or 1 (grey).
        skip_broken: leave out files that cannot be read (they are listed in `skipped`) instead of refusing.

    Raises:
        InvalidValue: for a folder without images, a broken file, or files of different sizes without `resolution`.
    """

    path: str | Path
    resolution: int | None = None
    channels: Literal[1, 3] = 3
    skip_broken: bool = False

    def __post_init__(self) -> None:
        valid = self.resolution is None or type(self.resolution) is int and self.resolution >= 1
        require(valid, "resolution", self.resolution, "None, or a whole number of pixels, at least 1")
        require(self.channels in (1, 3), "channels", self.channels, "1 or 3")
        require(Path(self.path).is_dir(), "path", str(self.path), "a folder that exists")
        _ = self._read  # so that a broken file shows when the object is built

    @property
    def arrays(self) -> tuple[Tensor, Tensor | None]:
        return self._read[0], self._read[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the sub-folders in the order of the labels; empty where there are no labels."""
        return self._read[2]

    @property
    def skipped(self) -> tuple[Path, ...]:
        """Files that could not be read."""
        return self._read[3]

    @cached_property
    def _read(self) -> tuple[Tensor, Tensor | None, tuple[str, ...], tuple[Path, ...]]:
        folder = Path(self.path)
        files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]
        files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
        require(bool(files), "path", str(folder), f"a folder with {', '.join(SUFFIXES)} files in it or below it")
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
        parts = [file.relative_to(folder).parts for file in kept]
        names = sorted({part[0] for part in parts if len(part) > 1})
        if len(names) < 2 or any(len(part) == 1 for part in parts):
            return stored, None, (), tuple(skipped)
        labels = torch.tensor([names.index(part[0]) for part in parts])
        return stored, labels, tuple(names), tuple(skipped)

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
