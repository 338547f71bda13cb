"""Decoding of one image file of any format as grey or RGB, cropped and resized."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

# Formats that Pillow lists but cannot decode by itself, or that do not contain pixels.
UNSUPPORTED_FORMATS = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"}
# Errors of a file that cannot be decoded.
DECODING_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
ORIENTATION = 0x0112  # EXIF tag
ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of all image files that can be decoded, in lower case, e.g. ".png"."""
    formats = {suffix: name for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    return frozenset(suffix for suffix, name in formats.items() if name not in UNSUPPORTED_FORMATS)


def decode_image(file: Path | BinaryIO, channels: int, size: int | None = None, crop: int | None = None) -> np.ndarray:
    """Return the pixels of an image file, (height, width, channels) uint8; the first frame if there are several.

    Transparency is removed, 16-bit images keep their upper 8 bits, and images are rotated according to their EXIF
    orientation.

    Args:
        file: path or open file.
        channels: 3 (red, green, blue) or 1 (grey).
        size: height and width, in pixels, to which the largest central square is resized (bicubic); None: no resizing.
        crop: side of the central square that is cut out first, in pixels; None: no cropping.

    Raises:
        OSError, ValueError, SyntaxError: one of `DECODING_ERRORS`, if the file cannot be decoded.
    """
    try:
        with Image.open(file) as image:
            return pixels(_upright(image), channels, size, crop)
    except DECODING_ERRORS:
        raise
    except Exception as error:  # Pillow's decoders raise errors of every type
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Return an image rotated according to its EXIF orientation; unchanged if its EXIF data cannot be read."""
    try:
        rotation = ROTATIONS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the pixels may still be readable
        rotation = None
    return image if rotation is None else image.transpose(rotation)


def has_several_frames(file: Path) -> bool:
    """Return whether an image file contains more than one frame or page; False if it cannot be read."""
    if file.suffix.lower() not in (".gif", ".tif", ".tiff", ".webp", ".apng", ".avif"):
        return False
    try:
        with Image.open(file) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # `decode_image` raises the error
        return False


def pixels(image: Image.Image, channels: int, size: int | None = None, crop: int | None = None) -> np.ndarray:
    """Return the pixels of an image; see `decode_image`.

    Raises:
        ValueError: the range of the pixel values is unknown.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if int(values.min()) < 0 or int(values.max()) >= 2**16:
            raise ValueError(f"integers from {values.min()} to {values.max()}, which are not 16-bit pixels")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # Pillow requires this before the transparency of a palette can be removed
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if crop is not None:
        side = min(crop, *image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)
