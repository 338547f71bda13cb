"""Feature matching: the distance between a discriminator's features of real and of generated samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from detente.errors import require
from detente.objectives.base import map_pairs


def feature_matching(real: Any, fake: Any) -> Tensor:
    """Return the sum, over all features, of the mean absolute difference between real and fake: a generator's term.

    Σ_l mean |f_l(x) − f_l(G(·))|, over the tensors f_l in `real` and `fake`, paired by position.

    Weights in the code: HiFi-GAN multiplies this sum by 2; pix2pixHD multiplies it by 10 · 4/(n_layers + 1) divided by
    the number of discriminators, where n_layers + 1 is the number of features of each. Both leave out the scores.

    pix2pixHD detaches the real features. That is not needed here, and would be wrong: each player's gradient is with
    respect to its own vector, real features do not depend on the generator's vector, and the discriminator does not
    minimise this term. But the field's Jacobian depends on how the discriminator moves both.

    Args:
        real: features of real samples: tensors of any shape, nested in lists, tuples and dictionaries.
        fake: features of generated samples, in the same structure and shapes; for each sample, those of its own real
            counterpart (the reconstructed input).

    Returns:
        The term, ().

    Raises:
        InvalidValue: the numbers or the shapes of real and fake features differ.

    Source: Wang et al. 2018, pix2pixHD (arXiv:1711.11585), equation 4 and code; Kong, Kim and Bae 2020, HiFi-GAN
        (arXiv:2010.05646), equation 8 and code (`feature_loss`).
    """
    distances = []
    for real_features, fake_features in map_pairs(real, fake):
        allowed = f"the shape of the real features, {tuple(real_features.shape)}"
        require(real_features.shape == fake_features.shape, "fake", tuple(fake_features.shape), allowed)
        distances.append((real_features - fake_features).abs().mean())
    return sum(distances[1:], distances[0])
