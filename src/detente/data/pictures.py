"""Reading one picture: grey or colour, whatever its file format, cropped and resized."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

# Formats that Pillow knows by name but cannot decode by itself, or that are no pictures of pixels.
NO_PICTURES = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"}
# What is raised for a file that cannot be read: Pillow's errors of every kind, as one.
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
ORIENTATION = 0x0112  # number of the EXIF entry
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@cache
def suffixes() -> frozenset[str]:
    """Return the endings of all image files that can be read, in small letters, e.g. ".png"."""
    registered = Image.registered_extensions()
    return frozenset(suffix for suffix, form in registered.items() if form in Image.OPEN and form not in NO_PICTURES)


def decoded(file: Path | BinaryIO, channels: int, size: int | None = None, crop: int | None = None) -> np.ndarray:
    """Return the pixels of an image file, (height, width, channels) uint8; of several frames, the first.

    Transparency is dropped; 16-bit images keep their upper 8 bits; a camera's orientation is undone where it can be
    read.

    Args:
        file: path or open file.
        channels: 3 (red, green, blue) or 1 (grey).
        size: height and width, in pixels: the largest square in the middle is resized to it (bicubic); None: as it is.
        crop: side of the square cut out of the middle first, in pixels; None: the largest.

    Raises:
        OSError, ValueError, SyntaxError: one of `BROKEN`, where the file cannot be read.
    """
    try:
        with Image.open(file) as opened:
            return pixels(_upright(opened), channels, size, crop)
    except BROKEN:
        raise
    except Exception as error:  # Pillow's readers of single formats raise errors of every kind
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Return an image as the camera was held; as it is where its EXIF data cannot be read."""
    try:
        turn = TURNED.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the picture may be whole all the same
        turn = None
    return image if turn is None else image.transpose(turn)


def several_frames(file: Path) -> bool:
    """Return whether a file that can be read holds more than one frame or page."""
    if file.suffix.lower() not in (".gif", ".tif", ".tiff", ".webp", ".apng", ".avif"):
        return False
    try:
        with Image.open(file) as opened:
            return bool(getattr(opened, "is_animated", False))
    except Exception:  # said elsewhere
        return False


def pixels(image: Image.Image, channels: int, size: int | None = None, crop: int | None = None) -> np.ndarray:
    """Return the pixels of an image, as `decoded` does.

    Raises:
        ValueError: its numbers have no known range.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if int(values.min()) < 0 or int(values.max()) >= 2**16:
            raise ValueError(f"whole numbers from {values.min()} to {values.max()}, which are no 16-bit pixels")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    elif image.mode in ("P", "PA"):
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
