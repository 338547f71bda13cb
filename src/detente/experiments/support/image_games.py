"""Games on images for experiments: convolutional networks, and part of a set where all of it would take too long."""

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
    """Return the first images of each class, as many of one as of another, as plain arrays.

    Of plain arrays no metric is measured along a training: experiments look for themselves.

    Args:
        data: with labels.
        count: how many in all, a multiple of the number of classes; None for all of them.
        classes: which labels; None for all.

    Raises:
        InvalidValue: a class has too few.
    """
    store, labels = data.arrays
    assert labels is not None
    if count is None and classes is None:
        return Arrays(store, labels)
    wanted = labels.unique().tolist() if classes is None else list(classes)
    each = len(labels) if count is None else count // len(wanted)
    rows = torch.cat([(labels == label).nonzero()[:each, 0] for label in wanted])
    enough = count is None or len(rows) == count
    require(enough, "count", count, f"a multiple of {len(wanted)}, at most as many as there are of each class")
    chosen = store[rows] if isinstance(store, torch.Tensor) else torch.from_numpy(store[rows.numpy()])
    return Arrays(chosen, labels[rows])


def dcgan_game(
    data: StoredData,
    width: int,
    batch: int,
    latent: int = 128,
    alone: bool = False,
    fixed_latents: bool = False,
    objective: str = "non_saturating",
) -> Adversarial:
    """Return DCGAN for images of 28, 32 or 64 pixels a side.

    Args:
        data: the images.
        width: of the networks.
        batch: images in a batch.
        latent: length of a latent vector.
        alone: every image is normalised by itself (GroupNorm of one group in the place of BatchNorm), so that those of
            a batch do not change each other's gradients.
        fixed_latents: one latent for each image, so that the losses are finite sums.
        objective: by name.

    Source: Chavdarova et al. 2018, SVRG-GAN, Table 1 (width 64, latent 128).
    """
    channels, size, _ = data.shape
    generator = partial(DcganGenerator, latent, channels, size, width)
    discriminator = partial(DcganDiscriminator, channels, size, width)
    if alone:
        generator, discriminator = partial(with_group_norm, generator), partial(with_group_norm, discriminator)
    return Adversarial(generator, discriminator, data, latent, objective, (), batch, fixed_latents)


def with_group_norm(network: Callable[[], nn.Module]) -> nn.Module:
    """Return a network with GroupNorm of one group, which norms each image by itself, wherever it has BatchNorm."""
    made = network()
    for owner in list(made.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(owner, name, nn.GroupNorm(1, layer.num_features))
    return made
