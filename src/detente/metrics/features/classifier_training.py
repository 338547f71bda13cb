"""How the classifier of a data set is trained: a game of one player, who minimises the cross-entropy of the labels."""

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
from detente.schedule import Cosine

HELD_OUT = 0.2  # of a set that has no test split: 1,000 of the 5,000 digits
TEST_SPLITS = ("test", "valid", "validation")
PLAYER = "classifier"


@dataclass(frozen=True)
class Recipe:
    """How long and on what a classifier is trained.

    Args:
        epochs: how often it sees each image.
        shift: by up to so many pixels each image is moved every time, so that none is learnt by heart.
        batch: images a step.
        rate: learning rate of Adam at first; it falls to a hundredth along half a cosine.
    """

    epochs: int = 10
    shift: int = 2
    batch: int = 128
    rate: float = 2e-3


RECIPES = {"digits": Recipe(epochs=20, batch=64), "fashion_mnist": Recipe(epochs=10, shift=1)}


class Recognition(Game):
    """One player, the classifier, who minimises the cross-entropy of the labels, from a network's parameters on."""

    def __init__(self, network: Network) -> None:
        self.network, self.layout = network, Layout.of(trainable(network), PLAYER)

    @property
    def players(self) -> tuple[str, ...]:
        """The classifier alone."""
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
    """Return the names of the sets that a classifier can be trained for: images with labels."""
    return ["digits", *(name for name, source in SOURCES.items() if source.kind == "images" and source.label)]


def train(
    name: str,
    seed: int = 0,
    recipe: Recipe | None = None,
    on_progress: Callable[[float, float], None] = lambda share, loss: None,
) -> Classifier:
    """Train the classifier of a data set, test it on images it never saw, and keep it in the cache.

    Args:
        name: of the set: digits, or a prepared set of images with labels.
        seed: of all that is random; on one machine, the same seed gives the same classifier.
        recipe: how; None for what suits the set.
        on_progress: called now and then with the share that is done, 0 … 1, and the loss.

    Raises:
        InvalidValue: no such set, not prepared yet, or without labels; a cache that cannot be written.
    """
    require_writable(classifier_folder())  # before a minute of training, not after
    recipe = recipe or RECIPES.get(name, Recipe())
    (images, labels), held_out = _sets(name)
    generator = torch.Generator().manual_seed(seed)
    classes = int(labels.max()) + 1
    shape = tuple(images.shape[1:])
    network: Any = build(PLAYER, partial(Network, shape[0], shape[-1], classes), generator)
    game = Recognition(network)
    vector = _trained(game, images, labels, recipe, generator, on_progress)
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


def _trained(
    game: Recognition,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
    on_progress: Callable[[float, float], None],
) -> Tensor:
    """Return the parameters after all epochs."""
    a_pass = -(-len(images) // recipe.batch)
    steps = recipe.epochs * a_pass
    optimizer = Adam(Cosine(recipe.rate, recipe.rate / 100, steps), betas=(0.9, 0.999))
    vectors, buffers = game.initial(generator)
    memory = optimizer.initial(vectors[PLAYER])
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(images), generator=generator).split(recipe.batch)
        for index, rows in enumerate(order):
            step = epoch * a_pass + index
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
    """Return the share of images, (n, C, H, W) uint8, that a network classifies as their labels say."""
    parts = zip(images.split(500), labels.split(500), strict=True)
    right = sum(int((network(_scaled(part)).argmax(dim=1) == those).sum()) for part, those in parts)
    return right / len(images)


def _sets(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return images, uint8, and labels to train on, and those held out."""
    if name not in names():
        raise unknown("name", name, names())
    if name == "digits":
        images, labels = _whole(Digits())
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # the same for every seed
        test, training = order.split([round(HELD_OUT * len(order)), len(order) - round(HELD_OUT * len(order))])
        return (images[training], labels[training]), (images[test], labels[test])
    splits = open_set(name, "images").about["splits"]
    test = next((split for split in TEST_SPLITS if split in splits), None)
    require("train" in splits and test is not None, "name", name, "a set with a split train and one to test on")
    return _whole(Prepared(name)), _whole(Prepared(name, split=test))


def _whole(data: StoredData) -> tuple[Tensor, Tensor]:
    """Return all images, uint8, and labels of a set."""
    store, labels = data.arrays
    require(labels is not None, "name", type(data).__name__, "a set with labels")
    assert labels is not None
    return store if isinstance(store, Tensor) else torch.from_numpy(np.array(store)), labels


def _shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return images (n, C, H, W), each moved by −most … most pixels down and to the right; what is uncovered is 0."""
    count, _, height, width = images.shape
    offsets = torch.randint(2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = offsets[0] + torch.arange(height), offsets[1] + torch.arange(width)
    padded = pad(images, (most, most, most, most)).permute(0, 2, 3, 1)
    shifted = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2).contiguous()


def _scaled(images: Tensor) -> Tensor:
    """Return images, uint8, as a set gives them: x / 127.5 − 1."""
    return images.float().div_(127.5).sub_(1)


def _checksum(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256(images.contiguous().numpy().data)
    digest.update(labels.contiguous().numpy().data)
    return digest.hexdigest()
