"""Classifiers of data sets: small networks that are trained once, stored in the cache, and used to score samples."""

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
from detente.metrics.features.extractor import Extractor, Predictions


class Network(nn.Module):
    """Two convolutions, each with max pooling and ReLU, then a feature layer and a class layer.

    logits = W₂ relu(W₁ relu(pool(conv₂ relu(pool(conv₁ x)))))

    Args:
        channels, side, classes: the images' channels, side in pixels (at least 4), and classes.
        width: channels after the first convolution; twice as many after the second.
        features: units of the feature layer, the one before the last.
    """

    def __init__(self, channels: int, side: int, classes: int, width: int = 32, features: int = 96) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.embedding = nn.Linear(2 * width * (side // 4) ** 2, features)
        self.last = nn.Linear(features, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features, (n, features), of images (n, channels, side, side) in [-1, 1]."""
        rows = images.to(memory_format=torch.channels_last)  # max pooling takes a third of the time in this format
        half = max_pool2d(self.first(rows).contiguous(memory_format=torch.channels_last), 2).relu()
        quarter = max_pool2d(self.second(half), 2).relu()
        return self.embedding(quarter.flatten(1)).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (n, classes)."""
        return self.last(self.embed(images))


@dataclass(frozen=True)
class ModelCard:
    """The metadata in a classifier's file.

    Args:
        name: name of the data set.
        accuracy: fraction of held-out images that are classified correctly.
        held_out: number of held-out images.
        trained_on, epochs, seed: number of training images, number of epochs, and the random seed.
        data: SHA-256 of the training images and labels.
        weights: SHA-256 of the file of parameters.
        shape, classes: shape of the images, (channels, side, side), and number of classes.
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


class Classifier(Extractor):
    """A trained classifier, in evaluation mode, and its metadata."""

    def __init__(self, network: Network, card: ModelCard) -> None:
        self.network, self.card = network.eval().requires_grad_(False), card
        self.key = f"classifier {card.name} {card.weights[:16]}"
        self.resizer = f"bilinear, antialiased, {card.shape[-1]} pixels"

    @property
    def accuracy(self) -> float:
        """The fraction of held-out images that it classifies correctly, 0 … 1."""
        return self.card.accuracy

    @torch.no_grad()
    def predict(self, images: Tensor) -> Predictions:
        """Return features and logits of images (n, C, H, W) in [-1, 1]; resize images of a different size first."""
        side = self.card.shape[-1]
        original, images = images, images.float()
        if tuple(images.shape[2:]) != (side, side):
            images = interpolate(images, (side, side), mode="bilinear", antialias=True)
        network = self.network.to(images.device)
        features = network.embed(images)
        return Predictions.of(original, features, network.last(features))

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probabilities of the classes, (n, K) float64, for images (n, C, H, W) in [-1, 1]."""
        return self.predict(images).probabilities

    def features(self, images: Tensor) -> Tensor:
        """Return the features, (n, F) float32, of images (n, C, H, W) in [-1, 1]."""
        return self.predict(images).features


def set_name(data: Any) -> str | None:
    """Return the name of the data set that determines the classifier of `data`, or None; ignore size and classes."""
    if isinstance(data, Digits):
        return "digits"
    return data.name.partition("-")[0] if isinstance(data, Prepared) else None


def fits(game: Game) -> bool:
    """Return whether a classifier for the data of `game` exists, with the same number of channels."""
    data: Any = getattr(game, "data", None)
    name = set_name(data)
    return name is not None and exists(name) and load(name).card.shape[0] == data.shape[0]


def missing(game: Game) -> str:
    """Return in words why there is no classifier for the data of `game`; empty if there is one."""
    data: Any = getattr(game, "data", None)
    name = set_name(data)
    if name is None:
        return "it needs images of a data set by name, which have a classifier, e.g. digits"
    if not exists(name):
        return f"it needs the data set's classifier; run once: detente data classifier {name}"
    return "" if fits(game) else f"the classifier of {name} has another number of channels"


def exists(name: str) -> bool:
    """Return whether the classifier of the data set `name` has been trained."""
    try:
        return all(file.is_file() for file in _files(name))
    except InvalidValue:  # no home directory
        return False


def of(data: Any) -> Classifier:
    """Return the classifier for `data`, or raise `InvalidValue`."""
    name = set_name(data)
    if name is None:
        raise InvalidValue(
            "data", type(data).__name__, "Digits, or Prepared images with labels", "Other data have no classifier"
        )
    return load(name)


def load(name: str) -> Classifier:
    """Return the classifier of the data set `name` from the cache.

    Raises:
        InvalidValue: it has not been trained, or its files are damaged; the error shows the command that trains it.
    """
    weights, command = _files(name)[0], f"detente data classifier {name}"
    if not exists(name):
        raise InvalidValue(
            "classifier", name, "the name of a data set with a trained classifier", f"Run once: {command}"
        )
    try:
        return _loaded(name, weights, weights.stat().st_mtime_ns)
    except Exception as error:  # the readers raise many kinds of errors for damaged files
        hint = f"Run again: {command} --overwrite. The error was: {error}"
        raise InvalidValue("classifier", name, "a classifier with intact files", hint) from error


@lru_cache(maxsize=8)
def _loaded(name: str, weights: Path, changed: int) -> Classifier:
    card = _read_card(name)
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    require(checksum == card.weights, "weights", checksum[:16], f"the checksum {card.weights[:16]}")
    network = Network(card.shape[0], card.shape[1], card.classes)
    network.load_state_dict(load_file(weights))
    return Classifier(network, card)


def save(network: Network, **metadata: Any) -> Classifier:
    """Save a trained network and its metadata (`ModelCard` without the checksum), and return the loaded classifier."""
    files = _files(metadata["name"])
    files[0].parent.mkdir(parents=True, exist_ok=True)
    temporary_files = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files]
    try:
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, temporary_files[0])
        checksum = hashlib.sha256(temporary_files[0].read_bytes()).hexdigest()
        card = asdict(ModelCard(**metadata, weights=checksum))
        temporary_files[1].write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for temporary, path in zip(temporary_files, files, strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in temporary_files:
            temporary.unlink(missing_ok=True)
    return load(metadata["name"])


def classifier_folder() -> Path:
    """Return the cache's folder of trained classifiers."""
    return cache() / "classifiers"


def _files(name: str) -> tuple[Path, Path]:
    folder = classifier_folder()
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def _read_card(name: str) -> ModelCard:
    card = json.loads(_files(name)[1].read_text(encoding="utf-8"))
    return ModelCard(**{**card, "shape": tuple(card["shape"])})
