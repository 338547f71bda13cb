"""Training of a data set's classifier, as a game of one player that minimises the cross-entropy of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from detente.autodiff import vector_field
from detente.data.base import StoredData
from detente.data.cache import open_set, require_writable
from detente.data.digits import Digits
from detente.data.prepared import Prepared
from detente.data.sources import SOURCES
from detente.errors import require, unknown
from detente.game import Batch, Buffers, Game, Vectors
from detente.metrics.features.classifier import Classifier, Network, classifier_folder, save
from detente.modules.calling import build, call, trainable, write
from detente.modules.layout import Layout
from detente.optimizers.adam import Adam
from detente.schedules.cosine import Cosine

HELD_OUT = 0.2  # fraction of a data set without a test split: 1,000 of the 5,000 digits
TEST_SPLITS = ("test", "valid", "validation")
PLAYER = "classifier"


@dataclass(frozen=True)
class Recipe:
    """The settings for the training of a classifier.

    Args:
        epochs: number of epochs.
        shift: largest random shift of each image in pixels, which prevents overfitting.
        batch: images per step.
        rate: initial learning rate of Adam; it decreases to a hundredth along half a cosine.
    """

    epochs: int = 10
    shift: int = 2
    batch: int = 128
    rate: float = 2e-3


RECIPES = {"digits": Recipe(epochs=20, batch=64), "fashion_mnist": Recipe(epochs=10, shift=1)}


class Recognition(Game):
    """A game of one player, the classifier, that minimises the cross-entropy of the labels."""

    def __init__(self, network: Network) -> None:
        self.network, self.layout = network, Layout.of(trainable(network), PLAYER)

    @property
    def players(self) -> tuple[str, ...]:
        """The classifier, the only player."""
        return (PLAYER,)

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return the network's parameters; it has no buffers."""
        del generator
        return {PLAYER: self.layout.flatten(trainable(self.network)).detach()}, {PLAYER: {}}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return the mean over the batch of −log p(label | image)."""
        logits = call(self.network, self.layout, vectors[PLAYER], {}, batch["real"])[0]
        return {PLAYER: cross_entropy(logits, batch["label"])}, buffers


def names() -> list[str]:
    """Return the names of the data sets for which a classifier can be trained: images with labels."""
    return ["digits", *(name for name, source in SOURCES.items() if source.kind == "images" and source.label)]


def train(
    name: str,
    seed: int = 0,
    recipe: Recipe | None = None,
    on_progress: Callable[[float, float], None] = lambda share, loss: None,
) -> Classifier:
    """Train the classifier of a data set, test it on held-out images, and save it in the cache.

    Args:
        name: name of the data set: digits, or a prepared data set of images with labels.
        seed: random seed; on one machine, the same seed gives the same classifier.
        recipe: settings of the training; None for the data set's default.
        on_progress: called regularly with the completed fraction, 0 … 1, and the loss.

    Raises:
        InvalidValue: the data set does not exist, is not prepared or has no labels, or the cache cannot be written.
    """
    require_writable(classifier_folder())  # fail before the training, which takes a minute
    recipe = recipe or RECIPES.get(name, Recipe())
    (images, labels), held_out = _sets(name)
    generator = torch.Generator().manual_seed(seed)
    classes = int(labels.max()) + 1
    shape = tuple(images.shape[1:])
    network: Any = build(PLAYER, partial(Network, shape[0], shape[-1], classes), generator)
    game = Recognition(network)
    vector = _train_parameters(game, images, labels, recipe, generator, on_progress)
    write(network, game.layout, vector, {}, PLAYER)
    return save(
        network,
        name=name,
        accuracy=accuracy(network, *held_out),
        held_out=len(held_out[0]),
        trained_on=len(images),
        epochs=recipe.epochs,
        seed=seed,
        data=_checksum(images, labels),
        shape=shape,
        classes=classes,
    )


def _train_parameters(
    game: Recognition,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
    on_progress: Callable[[float, float], None],
) -> Tensor:
    """Return the parameters after all epochs."""
    steps_per_epoch = -(-len(images) // recipe.batch)
    steps = recipe.epochs * steps_per_epoch
    optimizer = Adam(Cosine(recipe.rate, recipe.rate / 100, steps), betas=(0.9, 0.999))
    vectors, buffers = game.initial(generator)
    memory = optimizer.initial(vectors[PLAYER])
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(images), generator=generator).split(recipe.batch)
        for index, rows in enumerate(order):
            step = epoch * steps_per_epoch + index
            batch = {"real": _scaled(_shifted(images[rows], recipe.shift, generator)), "label": labels[rows]}
            evaluation = vector_field(game, vectors, buffers, batch)
            vector, memory = optimizer.step_in_place(
                vectors[PLAYER], evaluation.field[PLAYER], memory, torch.tensor(step)
            )
            vectors = {PLAYER: vector}
            if index % 10 == 0 or step + 1 == steps:
                on_progress((step + 1) / steps, float(evaluation.losses[PLAYER]))
    return vectors[PLAYER]


@torch.no_grad()
def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images, (n, C, H, W) uint8, that a network classifies correctly."""
    parts = zip(images.split(500), labels.split(500), strict=True)
    correct = sum(int((network(_scaled(part)).argmax(dim=1) == part_labels).sum()) for part, part_labels in parts)
    return correct / len(images)


def _sets(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the images, uint8, and labels for training, and those held out."""
    if name not in names():
        raise unknown("name", name, names())
    if name == "digits":
        images, labels = _read_all(Digits())
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # the same for every seed
        test, training = order.split([round(HELD_OUT * len(order)), len(order) - round(HELD_OUT * len(order))])
        return (images[training], labels[training]), (images[test], labels[test])
    splits = open_set(name, "images").about["splits"]
    test = next((split for split in TEST_SPLITS if split in splits), None)
    require(
        "train" in splits and test is not None, "name", name, "a data set with a split `train` and a split for tests"
    )
    return _read_all(Prepared(name)), _read_all(Prepared(name, split=test))


def _read_all(data: StoredData) -> tuple[Tensor, Tensor]:
    """Return all images, uint8, and labels of a data set."""
    store, labels = data.arrays
    require(labels is not None, "name", type(data).__name__, "a data set with labels")
    assert labels is not None
    return store if isinstance(store, Tensor) else torch.from_numpy(np.array(store)), labels


def _shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return images (n, C, H, W), each shifted down and right by −most … most pixels; new pixels are 0."""
    count, _, height, width = images.shape
    offsets = torch.randint(2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = offsets[0] + torch.arange(height), offsets[1] + torch.arange(width)
    padded = pad(images, (most, most, most, most)).permute(0, 2, 3, 1)
    shifted = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2).contiguous()


def _scaled(images: Tensor) -> Tensor:
    """Return uint8 images scaled to [-1, 1], as data sets return them: x / 127.5 − 1."""
    return images.float().div_(127.5).sub_(1)


def _checksum(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256(images.contiguous().numpy().data)
    digest.update(labels.contiguous().numpy().data)
    return digest.hexdigest()
