"""The named data sets: the source of each, and how its images are cropped and resized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from detente.errors import require, unknown

LARGEST = 1024


@dataclass(frozen=True)
class Source:
    """The source of a set, and how it is converted to one array.

    Images: the central `crop` × `crop` pixels (None: the largest square), resized to `size` × `size` (bicubic). Text:
    the first `size` characters of each line, padded.

    Args:
        title: short description of the set.
        hub: name of the set on the Hugging Face hub.
        splits: number of samples of each split on the hub, in the order in which they are stored.
        size: height and width of the images in pixels, or length of the lines in characters.
        channels: 3 (red, green, blue) or 1 (grey); 1 for text.
        crop: side of the central square that is cut out before resizing, in pixels, or None.
        sample: column of the images, {bytes, path} each, or of the text.
        label: column of the labels, or None.
        configuration: configuration on the hub, or None if there is only one.
        kind: "images" or "text".
        installed: folder of the set's files in a Debian package, and the name of the package, or None.
        classes: names of the labels in their order, for files that do not contain them; empty: unknown.
        paper: the paper to cite.
    """

    title: str
    hub: str
    splits: Mapping[str, int]
    size: int
    channels: int = 3
    crop: int | None = None
    sample: str = "image"
    label: str | None = "label"
    configuration: str | None = None
    kind: Literal["images", "text"] = "images"
    installed: tuple[Path, str] | None = None
    classes: tuple[str, ...] = ()
    paper: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one stored sample."""
        return (self.size,) if self.kind == "text" else (self.channels, self.size, self.size)

    @property
    def count(self) -> int:
        """Number of samples in all splits."""
        return sum(self.splits.values())


def _words(names: str) -> tuple[str, ...]:
    return tuple(names.split())


SOURCES = {
    "mnist": Source(
        "handwritten digits",
        "ylecun/mnist",
        {"train": 60_000, "test": 10_000},
        28,
        channels=1,
        classes=tuple("0123456789"),
        paper="LeCun, Bottou, Bengio, Haffner (1998)",
    ),
    "fashion_mnist": Source(
        "clothes, in grey",
        "zalando-datasets/fashion_mnist",
        {"train": 60_000, "test": 10_000},
        28,
        channels=1,
        installed=(Path("/usr/share/datasets/fashion-mnist"), "dataset-fashion-mnist"),
        classes=_words("T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot"),
        paper="Xiao, Rasul, Vollgraf (2017)",
    ),
    "cifar10": Source(
        "animals and vehicles",
        "uoft-cs/cifar10",
        {"train": 50_000, "test": 10_000},
        32,
        sample="img",
        classes=_words("airplane automobile bird cat deer dog frog horse ship truck"),
        paper="Krizhevsky (2009)",
    ),
    "stl10": Source(
        "animals, vehicles; most unlabelled",
        "jxie/stl10",
        {"unlabeled": 100_000, "train": 5_000, "test": 8_000},
        48,
        classes=_words("airplane bird car cat deer dog horse monkey ship truck"),
        paper="Coates, Ng, Lee (2011)",
    ),
    "celeba": Source(
        "faces",
        "flwrlabs/celeba",
        {"train": 162_770, "valid": 19_867, "test": 19_962},
        64,
        crop=160,
        label=None,
        paper="Liu, Luo, Wang, Tang (2015)",
    ),
    "lsun_bedroom": Source(
        "bedrooms, a tenth of all",
        "pcuenq/lsun-bedrooms",
        {"train": 287_968, "test": 15_157},
        64,
        label=None,
        paper="Yu, Seff, Zhang, Song, Funkhouser, Xiao (2015)",
    ),
    "imagenet": Source(
        "photographs, 1,000 classes",
        "ILSVRC/imagenet-1k",
        {"train": 1_281_167, "validation": 50_000},
        64,
        paper="Russakovsky et al. (2015)",
    ),
    "one_billion_word": Source(
        "English news",
        "dvruette/lm1b",
        {"train": 30_301_028, "test": 306_688},
        32,
        channels=1,
        sample="text",
        label=None,
        kind="text",
        paper="Chelba et al. (2013)",
    ),
}


def named(name: str) -> Source:
    """Return the source with a name: `celeba`, or `celeba-32` for another size than the default.

    Raises:
        InvalidValue: the name is unknown, or the size is not allowed.
    """
    base, dash, size = str(name).partition("-")
    if base not in SOURCES:
        raise unknown("name", name, SOURCES)
    if not dash:
        return SOURCES[base]
    valid = size.isascii() and size.isdigit() and size[0] != "0" and 4 <= int(size) <= LARGEST
    require(valid, "name", name, f"{base}, or {base}-SIZE with a size of 4 … {LARGEST}")
    return replace(SOURCES[base], size=int(size))
