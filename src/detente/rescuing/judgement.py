"""Whether a trial's samples count as a cure: are they where the data are, everywhere there, and no copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.games.conditional import Conditional
from detente.games.gan import Gan
from detente.modules.calling import evaluating
from detente.modules.resize_convolution import uneven_layers
from detente.signals.grid_pattern import grid_strength
from detente.signals.reference import DIRECTIONS, Quality, Reference, distances_to_nearest, mean_distance
from detente.state import State

LABELLED = 512  # samples whose labels are compared
SAMPLES, NUMBERS = 2048, 2**23  # samples that are compared, and numbers of all of them together, at most
COMPARED = 512  # real samples whose mean distance is taken
FEWEST = 4  # different real samples; with fewer, there are no distances between them
USUAL = 0.95  # share of real samples that are as near to other real ones as a sample must be
NEAR, REACHED = 0.58, 0.3  # least shares of points and tables, relative to those of real samples
SEEN_NEAR, SEEN_REACHED = 0.2, 0.2  # of images and other samples of many numbers, which are never exactly alike
GRID = 2.0  # strength of a pattern, relative to the data's, from which it is an artefact
LABELS = 0.5  # least share of samples with the right label
COPIED = 0.3  # distance to training samples, relative to that between them, below which samples are copies
WITHIN = 0.2  # of the mean distance of real samples: within it, samples of many numbers are alike in any case
VARIANCE, CELLS, SPREAD = (0.6, 1.6), 0.75, 0.6
DISTANCE = 0.03  # as if the data were shifted by a quarter of their deviation, or a few of their modes were missing


@dataclass(frozen=True)
class Judgement:
    """How good samples are, measured on fresh ones at the end.

    Args:
        quality: regions, variance, spread and distance, as in the observations.
        near: share of the samples that lie as near to a real sample as 95 % of other real samples do, divided by 0.95:
            the precision.
        reached: share of the real samples near which a generated one lies, at the same distance, divided by that near
            which another real one lies: the coverage.
        copies: median distance of the samples to the nearest training sample, divided by that from one training sample
            to the next; near 0, the samples are copies. NaN where training samples repeat, as categories do.
        many: whether samples are images or have more than 32 numbers.
        labels: share of samples whose nearest real sample has the label that was asked for, divided by that of real
            samples; NaN without labels.
        grid: strength of a pattern of every second pixel, relative to the data's; NaN unless the generator has layers
            that draw one.
        own: energy distance of other real samples, which is above 0 if there are few.
    """

    quality: Quality
    near: float
    reached: float
    copies: float
    many: bool
    labels: float = math.nan
    grid: float = math.nan
    own: float = 0.0

    def __str__(self) -> str:
        parts = {
            f"precision {self.near:.2f} (share as near to real ones as real ones are, relative to those)": self.near,
            f"coverage {self.reached:.2f} (share of the real ones with one as near)": self.reached,
            f"{self.copies:.2g} as far from training samples as these are from each other": self.copies,
        }
        parts[f"{self.labels:.2f} of the labels as asked for, relative to real ones"] = self.labels
        parts[f"a pattern of every second pixel {self.grid:.2g} times as strong as in the data"] = self.grid
        known = [words for words, value in parts.items() if not math.isnan(value)]
        return ", ".join([*known, f"distance {self.quality.distance:.2g}, spread {self.quality.spread:.2g}"])

    @property
    def faults(self) -> list[str]:
        """Why the samples do not count as a cure, in words; empty if they do."""
        quality, (low, high) = self.quality, VARIANCE
        near, reached = (SEEN_NEAR, SEEN_REACHED) if self.many else (NEAR, REACHED)
        faults = {
            f"only {quality.cells:.0%} of the regions are reached": quality.cells < CELLS,
            f"the variance is {quality.variance:.2g} of the data's": not low <= quality.variance <= high,
            f"the width in each direction is right to {quality.spread:.0%} only": quality.spread < SPREAD,
            f"the distance to the data is {quality.distance:.2g}": not quality.distance <= DISTANCE + self.own,
            f"only {self.near:.0%} of the samples lie near real ones": self.near < near,
            f"samples lie near only {self.reached:.0%} of the real ones": self.reached < reached,
            f"the samples are {self.copies:.2g} as far from training samples as those are from each other: copies": (
                self.copies < COPIED
            ),
            f"only {self.labels:.0%} of the samples have the label that was asked for": self.labels < LABELS,
            f"a pattern of every second pixel is {self.grid:.2g} times as strong as in the data": self.grid >= GRID,
        }
        return [words for words, holds in faults.items() if holds]

    @property
    def cured(self) -> bool:
        """Whether the samples are as good as those of a working GAN."""
        return not self.faults


def judge(gan: Gan, samples: Tensor, reference: Reference) -> Judgement:
    """Return how good samples are, from distances between nearest neighbours.

    Distances are those of standardised columns for samples of few numbers, otherwise of the numbers as they are.
    Samples of many numbers, such as sequences, may lie on a surface from which generated ones are a little away; so a
    fifth of the mean distance of real samples counts as near, too.

    Args:
        gan: the players, with the data.
        samples: generated samples, (count, …).
        reference: the real samples as the standard of their quality.

    Source: Kynkäänniemi et al. 2019, Improved Precision and Recall (arXiv:1904.06991), with one distance for all
        samples; Meehan, Chaudhuri & Dasgupta 2020 (arXiv:2004.05675) for copies.
    """
    numbers, quality = samples[0].numel(), reference.quality(samples)
    own = reference.own_distance
    many = numbers > DIRECTIONS or samples.dim() > 2
    count = SAMPLES if numbers <= DIRECTIONS else max(64, min(SAMPLES // 2, NUMBERS // numbers))
    real, fake = _rows(gan, 2 * count), samples[:count].double().flatten(1)
    if not bool(fake.isfinite().all()) or not bool(real.isfinite().all()):
        return Judgement(quality, 0.0, 0.0, math.nan, many, own=own)
    if not many:
        scale = real.std(0)
        scale = torch.where(scale > 0, scale, 1.0)
        real, fake = real / scale, fake / scale
    first, second = real[: len(real) // 2], real[len(real) // 2 :]
    nearest = distances_to_nearest(second, first)
    between, different = _between(real)
    alike = WITHIN * float(mean_distance(real[:COMPARED])) if many and len(real) > 1 else 0.0
    limit = max(float(torch.quantile(nearest, USUAL)), COPIED * between, alike)
    if limit == 0:
        return Judgement(quality, math.nan, math.nan, math.nan, many, own=own)
    usual = (distances_to_nearest(first, second) <= limit).double().mean()
    near = (distances_to_nearest(fake, first) <= limit).double().mean() / USUAL
    reached = (distances_to_nearest(first, fake[: len(second)]) <= limit).double().mean() / usual.clamp(min=0.01)
    tells = 2 * different >= len(real) or many  # otherwise, the set may hold all there is
    copies = float(distances_to_nearest(fake, real).median()) / between if between > 0 and tells else math.nan
    draws = uneven_layers(gan.game.modules[gan.generator])
    shape = (-1, *samples.shape[1:])
    grid = grid_strength(samples) / grid_strength(_rows(gan, count).reshape(shape)) if draws else math.nan
    return Judgement(quality, float(near), float(reached), copies, many, grid=grid, own=own)


def label_agreement(gan: Gan, state: State) -> float:
    """Return how often the nearest real sample has the label that was asked for, relative to real samples.

    Args:
        gan: the players, with the data; NaN unless the game is `Conditional`.
        state: the trained state.
    """
    if not isinstance(gan.game, Conditional):
        return math.nan
    generator, made, asked = torch.Generator().manual_seed(3), [], []
    with torch.no_grad(), evaluating(gan.game.modules[gan.generator]):
        while sum(map(len, made)) < LABELLED:
            (call,) = gan.generator_inputs(state.vectors, state.buffers, gan.batch(generator), generator)
            made.append(gan.game._net(state.vectors, state.buffers).call(gan.generator, call, update=False))
            asked.append(call.inputs[1])
    drawn = gan.game.data.draw(3 * LABELLED, generator)
    rows, labels = drawn["real"].double().flatten(1), drawn["label"]
    known, other = slice(LABELLED, None), slice(0, LABELLED)

    def right(samples: Tensor, wanted: Tensor) -> float:
        nearest = labels[known][torch.cdist(samples.double().flatten(1), rows[known]).argmin(1)]
        return float((nearest == wanted).double().mean())

    return right(torch.cat(made), torch.cat(asked)) / max(right(rows[other], labels[other]), 1e-3)


def _rows(gan: Gan, count: int) -> Tensor:
    """Return real samples, (count, numbers) float64, in random order; all of a small set."""
    data, generator = getattr(gan.game, "data", None), torch.Generator().manual_seed(17)
    if isinstance(data, StoredData) and gan.real_entry == "real":
        chosen = torch.randperm(data.size, generator=generator)[:count]
        return gan.real_of(data.take(chosen)).double().flatten(1)
    return gan.real(count, generator).double().flatten(1)


def _between(real: Tensor) -> tuple[float, int]:
    """Return the median distance from a real sample to the next different one, 0 if few differ, and how many differ."""
    different = real.unique(dim=0)
    if len(different) < FEWEST:
        return 0.0, len(different)
    return float(torch.cdist(different, different).fill_diagonal_(math.inf).min(1).values.median()), len(different)
