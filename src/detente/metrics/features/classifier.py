"""Classifiers of data sets: small networks that were trained once, kept in the cache, and used to score samples."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from detente.data.cache import cache
from detente.data.digits import Digits
from detente.data.prepared import Prepared
from detente.errors import InvalidValue, require
from detente.game import Game
from detente.metrics.features.extractor import Seen


class Network(nn.Module):
    """Two convolutions, each with max pooling and ReLU, then a layer of features and one of classes.

    logits = W₂ relu(W₁ relu(pool(conv₂ relu(pool(conv₁ x)))))

    Args:
        channels, side, classes: of the images, side at least 4.
        width: channels after the first convolution; twice as many after the second.
        features: numbers in the layer before the last.
    """

    def __init__(self, channels: int, side: int, classes: int, width: int = 32, features: int = 96) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.embedding = nn.Linear(2 * width * (side // 4) ** 2, features)
        self.last = nn.Linear(features, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features, (n, features), of images (n, channels, side, side) in [-1, 1]."""
        rows = images.to(memory_format=torch.channels_last)  # max pooling takes a third of the time in this order
        half = max_pool2d(self.first(rows).contiguous(memory_format=torch.channels_last), 2).relu()
        quarter = max_pool2d(self.second(half), 2).relu()
        return self.embedding(quarter.flatten(1)).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (n, classes)."""
        return self.last(self.embed(images))


@dataclass(frozen=True)
class Stated:
    """What a classifier's file says about it.

    Args:
        name: of the data set.
        accuracy: share of the held-out images that are classified rightly.
        held_out: how many those were.
        trained_on, epochs, seed: how many images it was trained on, how often, and from what randomness.
        data: SHA-256 of the images and labels it was trained on.
        weights: SHA-256 of the file of its parameters.
        shape, classes: of the images, (channels, side, side), and how many classes there are.
    """

    name: str
    accuracy: float
    held_out: int
    trained_on: int
    epochs: int
    seed: int
    data: str
    weights: str
    shape: tuple[int, ...]
    classes: int


class Classifier:
    """A trained classifier, in evaluation mode, and what is stated about it."""

    def __init__(self, network: Network, stated: Stated) -> None:
        self.network, self.stated = network.eval().requires_grad_(False), stated

    @property
    def key(self) -> str:
        """Name and beginning of the parameters' checksum."""
        return f"classifier {self.stated.name} {self.stated.weights[:16]}"

    @property
    def accuracy(self) -> float:
        """Share of the held-out images that it classifies rightly, 0 … 1."""
        return self.stated.accuracy

    @torch.no_grad()
    def look(self, images: Tensor) -> Seen:
        """Return features and logits of images (n, C, H, W) in [-1, 1]; other sizes than its own are resized first."""
        side = self.stated.shape[-1]
        original, images = images, images.float()
        if tuple(images.shape[2:]) != (side, side):
            images = interpolate(images, (side, side), mode="bilinear", antialias=True)
        network = self.network.to(images.device)
        features = network.embed(images)
        return Seen.of(original, features, network.last(features))

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probabilities of the classes, (n, K) float64, for images (n, C, H, W) in [-1, 1]."""
        return self.look(images).probabilities

    def features(self, images: Tensor) -> Tensor:
        """Return the features, (n, F) float32, of images (n, C, H, W) in [-1, 1]."""
        return self.look(images).features


def set_name(data: Any) -> str | None:
    """Return the name of the set whose classifier knows `data`, or None. Its size and classes do not matter."""
    if isinstance(data, Digits):
        return "digits"
    return data.name.partition("-")[0] if isinstance(data, Prepared) else None


def fits(game: Game) -> bool:
    """Return whether there is a classifier for the data of `game`, trained on images of as many channels."""
    data: Any = getattr(game, "data", None)
    name = set_name(data)
    return name is not None and exists(name) and load(name).stated.shape[0] == data.shape[0]


def exists(name: str) -> bool:
    """Return whether the classifier of the set of that name was trained."""
    try:
        return all(file.is_file() for file in _files(name))
    except InvalidValue:  # no home directory
        return False


def of(data: Any) -> Classifier:
    """Return the classifier that knows `data`, or raise `InvalidValue`."""
    name = set_name(data)
    if name is None:
        raise InvalidValue("data", type(data).__name__, "Digits, or Prepared images with labels", "Others have none")
    return load(name)


def load(name: str) -> Classifier:
    """Return the classifier of the set of that name from the cache.

    Raises:
        InvalidValue: it was not trained yet, or its files are damaged; with the command that trains it.
    """
    weights, command = _files(name)[0], f"detente data classifier {name}"
    if not exists(name):
        raise InvalidValue("classifier", name, "the name of a set whose classifier is trained", f"Run once: {command}")
    try:
        return _loaded(name, weights, weights.stat().st_mtime_ns)
    except Exception as error:  # whatever a damaged file makes the readers raise
        hint = f"Run again: {command} --overwrite. It says: {error}"
        raise InvalidValue("classifier", name, "a classifier whose files are whole", hint) from error


@lru_cache(maxsize=8)
def _loaded(name: str, weights: Path, changed: int) -> Classifier:
    stated = _stated(name)
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    require(checksum == stated.weights, "weights", checksum[:16], f"the checksum {stated.weights[:16]}")
    network = Network(stated.shape[0], stated.shape[1], stated.classes)
    network.load_state_dict(load_file(weights))
    return Classifier(network, stated)


def save(network: Network, **stated: Any) -> Classifier:
    """Keep a trained network and what is `Stated` of it (but the checksum), and return it as it is read back."""
    weights, about = _files(stated["name"])
    weights.parent.mkdir(parents=True, exist_ok=True)
    new = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in (weights, about)]
    try:
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, new[0])
        checksum = hashlib.sha256(new[0].read_bytes()).hexdigest()
        card = asdict(Stated(**stated, weights=checksum))
        new[1].write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for temporary, path in zip(new, (weights, about), strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in new:
            temporary.unlink(missing_ok=True)
    return load(stated["name"])


def classifier_folder() -> Path:
    """Return the cache's folder of trained classifiers."""
    return cache() / "classifiers"


def _files(name: str) -> tuple[Path, Path]:
    folder = classifier_folder()
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def _stated(name: str) -> Stated:
    card = json.loads(_files(name)[1].read_text(encoding="utf-8"))
    return Stated(**{**card, "shape": tuple(card["shape"])})
