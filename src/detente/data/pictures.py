"""Reading one picture: grey or colour, whatever its file format, cropped and resized."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# What Pillow raises for a file that it cannot read.
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def decoded(file: Path | BinaryIO, channels: int, size: int | None = None, crop: int | None = None) -> np.ndarray:
    """Return the pixels of an image file, (height, width, channels) uint8.

    Transparency is dropped; 16-bit images keep their upper 8 bits; a camera's orientation is undone.

    Args:
        file: path or open file.
        channels: 3 (red, green, blue) or 1 (grey).
        size: height and width, in pixels: the largest square in the middle is resized to it (bicubic); None: as it is.
        crop: side of the square cut out of the middle first, in pixels; None: the largest.

    Raises:
        OSError, ValueError, SyntaxError: one of `BROKEN`, where the file cannot be read.
    """
    with Image.open(file) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        return pixels(opened, channels, size, crop)


def pixels(image: Image.Image, channels: int, size: int | None = None, crop: int | None = None) -> np.ndarray:
    """Return the pixels of an image, as `decoded` does."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P":
        image = image.convert("RGBA")  # what Pillow asks for before a palette's transparency is dropped
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if crop is not None:
        side = min(crop, *image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)
