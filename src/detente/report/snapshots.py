"""Reading samples and spectra: few enough, small enough numbers for a page; broken files are named, not hidden."""

from __future__ import annotations

import base64
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from detente.report.run import Run
from detente.report.statistics import thinned

NAME = re.compile(r"seed(-?\d+)-step(\d+)\.(npz|png)")
FRAMES, POINTS, GRID, EIGENVALUES, WIDTH, BYTES = 24, 512, 40, 800, 720, 160_000
# What numpy raises on a file that was cut short or is no archive of plain arrays.
BROKEN = (OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
Arrays = dict[str, np.ndarray[Any, Any]]
Files = dict[tuple[int, int], Path]


def files(run: Run, folder: str) -> Files:
    """Return the files of `folder` by (seed, step), in order."""
    found = {}
    for path in sorted((run.path / folder).glob("seed*-step*.*")):
        match = NAME.fullmatch(path.name)
        if match:
            found[int(match[1]), int(match[2])] = path
    return found


def chosen_steps(groups: Sequence[Files]) -> list[int]:
    """Return the steps the slider stops at: all that any run has, thinned to at most 24."""
    return thinned(sorted({step for group in groups for _, step in group}), FRAMES)


def read_arrays(path: Path) -> Arrays | str:
    """Return the arrays of an NPZ file, or in words why they cannot be read (nothing is ever unpickled)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except BROKEN as error:
        return f"{path.name} could not be read ({type(error).__name__})."


def points(array: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any] | None:
    """Return an (n, 2) array thinned to at most 512 points by one fixed draw, None where it is no such array."""
    if array is None or array.ndim != 2 or array.shape[1] != 2 or not np.issubdtype(array.dtype, np.number):
        return None
    if len(array) > POINTS:
        array = array[np.random.default_rng(0).choice(len(array), POINTS, replace=False)]
    return array.astype(np.float64)


def coarse(grid: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a (r, c) grid of scores, interpolated linearly to 40 evenly spaced rows and columns where it has more."""
    for _ in range(2):
        size = len(grid)
        if size > GRID:
            places = np.linspace(0, size - 1, GRID)
            lower = np.minimum(places.astype(int), size - 2)
            share = (places - lower)[:, None]
            grid = grid[lower] * (1 - share) + grid[lower + 1] * share
        grid = grid.T
    return grid.astype(np.float64)


def packed(values: np.ndarray[Any, Any], low: float, high: float) -> dict[str, Any]:
    """Return numbers in [low, high] as 16-bit integers in base64: two bytes a number, exact to (high - low) / 65535."""
    scale = (high - low) or 1.0
    whole = np.clip(np.round((values.ravel() - low) / scale * 65535), 0, 65535).astype("<u2")
    return {"low": low, "high": low + scale, "data": base64.b64encode(whole.tobytes()).decode()}


def extremes(eigenvalues: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return at most 800 eigenvalues: the smallest real parts, the largest moduli, a spread."""
    values = eigenvalues.ravel()
    values = values[np.isfinite(values)]
    if values.size <= EIGENVALUES:
        return values
    third = EIGENVALUES // 3
    ends = [np.argsort(values.real)[:third], np.argsort(-np.abs(values))[:third]]
    spread = np.linspace(0, values.size - 1, third).astype(int)
    return values[np.unique(np.concatenate([*ends, spread]))]


def picture(path: Path) -> str | None:
    """Return an image file as a data address, made smaller where it is large; None where it is no image."""
    try:
        raw = path.read_bytes()
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            image.load()
            if image.width <= WIDTH and len(raw) <= BYTES:
                return "data:image/png;base64," + base64.b64encode(raw).decode()
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    small.thumbnail((WIDTH, 4 * WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
