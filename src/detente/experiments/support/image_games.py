"""Games on images for experiments: DCGANs, and class-balanced subsets of image sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from detente.data.arrays import Arrays
from detente.data.base import StoredData
from detente.errors import require
from detente.games.adversarial import Adversarial
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator


def balanced_subset(data: StoredData, count: int | None = None, classes: Sequence[int] | None = None) -> StoredData:
    """Return the same number of images of each class, the first ones, as plain arrays.

    No metric is measured on plain arrays during a training; experiments measure by themselves.

    Args:
        data: labelled images.
        count: total number of images, a multiple of the number of classes; None: all of them.
        classes: the labels to keep; None: all.

    Raises:
        InvalidValue: a class has too few images.
    """
    store, labels = data.arrays
    assert labels is not None
    if count is None and classes is None:
        return Arrays(store, labels)
    class_labels = labels.unique().tolist() if classes is None else list(classes)
    per_class = len(labels) if count is None else count // len(class_labels)
    rows = torch.cat([(labels == label).nonzero()[:per_class, 0] for label in class_labels])
    complete = count is None or len(rows) == count
    require(complete, "count", count, f"a multiple of {len(class_labels)}, at most as many as there are of each class")
    subset = store[rows] if isinstance(store, torch.Tensor) else torch.from_numpy(store[rows.numpy()])
    return Arrays(subset, labels[rows])


def dcgan_game(
    data: StoredData,
    width: int,
    batch: int,
    latent: int = 128,
    per_image_norm: bool = False,
    fixed_latents: bool = False,
    objective: str = "non_saturating",
) -> Adversarial:
    """Return a DCGAN for images of 28, 32 or 64 pixels a side.

    Args:
        data: the images.
        width: width of both networks.
        batch: images per batch.
        latent: length of a latent vector.
        per_image_norm: use GroupNorm with one group instead of BatchNorm, so that the images of a batch do not change
            each other's gradients.
        fixed_latents: use one fixed latent per image, so that the losses are finite sums.
        objective: name of the objective.

    Source: Chavdarova et al. 2018, SVRG-GAN, Table 1 (width 64, latent 128).
    """
    channels, size, _ = data.shape
    generator = partial(DcganGenerator, latent, channels, size, width)
    discriminator = partial(DcganDiscriminator, channels, size, width)
    if per_image_norm:
        generator, discriminator = partial(with_group_norm, generator), partial(with_group_norm, discriminator)
    return Adversarial(generator, discriminator, data, latent, objective, (), batch, fixed_latents)


def with_group_norm(network: Callable[[], nn.Module]) -> nn.Module:
    """Return a network with each BatchNorm replaced by GroupNorm with one group, which normalises images separately."""
    module = network()
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(parent, name, nn.GroupNorm(1, layer.num_features))
    return module
