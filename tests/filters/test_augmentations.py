"""Augmentations: DiffAugment against the reference's indexing, and the adaptive strength against its training loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import vmap

from detente.errors import InvalidValue
from detente.filters.adaptive_augmentation import AdaptiveAugmentation
from detente.filters.diff_augment import DiffAugment
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.schedules.linear import Linear


def images(channels: int = 3, height: int = 9, width: int = 12, count: int = 5) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def drawn(filter: DiffAugment, x: Tensor, seed: int = 1) -> dict[str, Tensor]:
    return filter.draw(x.shape, torch.Generator().manual_seed(seed))


def reference(policy: str, x: Tensor, noise: dict[str, Tensor]) -> Tensor:
    """The reference code's formulas, pixel by pixel in NumPy, at the same random numbers."""
    out = x.numpy().copy()
    for name in policy.split(","):
        for n, image in enumerate(out):
            u = noise[name][n].double().numpy()
            channels, height, width = image.shape
            if name == "color":
                image = image + (u[0] - 0.5)
                mean = image.mean(0, keepdims=True)
                image = (image - mean) * (u[1] * 2) + mean
                mean = image.mean()
                image = (image - mean) * (u[2] + 0.5) + mean
            elif name == "translation":
                shifts = [
                    int(u[i] * (2 * int(s * 0.125 + 0.5) + 1)) - int(s * 0.125 + 0.5)
                    for i, s in enumerate((height, width))
                ]
                padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
                rows = np.clip(np.arange(height) + shifts[0] + 1, 0, height + 1)
                columns = np.clip(np.arange(width) + shifts[1] + 1, 0, width + 1)
                image = padded[:, rows][:, :, columns]
            else:
                mask = np.ones((height, width))
                sizes = [int(s * 0.5 + 0.5) for s in (height, width)]
                offsets = [int(u[i] * (s + (1 - sizes[i] % 2))) for i, s in enumerate((height, width))]
                for i in range(sizes[0]):
                    for j in range(sizes[1]):
                        row = min(max(i + offsets[0] - sizes[0] // 2, 0), height - 1)
                        column = min(max(j + offsets[1] - sizes[1] // 2, 0), width - 1)
                        mask[row, column] = 0
                image = image * mask
            out[n] = image
    return torch.from_numpy(out)


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 9, 12), (3, 28, 28)], ids=str)
@pytest.mark.parametrize("policy", ["color", "translation", "cutout", "color,translation,cutout", "cutout,color"])
def test_the_reference_formulas_at_the_same_numbers(policy: str, size: tuple[int, int, int]) -> None:
    filter, x = DiffAugment(policy), images(*size, count=20)
    noise = drawn(filter, x)
    torch.testing.assert_close(filter(x, noise, 1.0), reference(policy, x, noise))
    corners = {name: torch.full_like(u, 1 - 2**-24) if name != "applied" else u for name, u in noise.items()}
    torch.testing.assert_close(filter(x, corners, 1.0), reference(policy, x, corners))
    corners = {name: torch.zeros_like(u) for name, u in noise.items()}
    torch.testing.assert_close(filter(x, corners, 1.0), reference(policy, x, corners))


def test_gradients_pass_through() -> None:
    filter, x = DiffAugment(), images(2, 4, 4, 2).requires_grad_()
    noise = drawn(filter, x)
    assert torch.autograd.gradcheck(lambda x: filter(x, noise, 1.0), x)
    assert torch.autograd.gradgradcheck(lambda x: filter(x, noise, 1.0).square(), x)


def test_the_strength_is_a_probability_per_sample_and_group() -> None:
    filter, x = DiffAugment("color,cutout"), images(1, 4, 4, 4000)
    noise = drawn(filter, x)
    assert torch.equal(filter(x, noise, 0.0), x)
    some = filter(x, noise, torch.tensor(0.3))
    whole = {
        name: DiffAugment(name)(x, {**noise, "applied": torch.zeros(4000, 1)}, 1.0) for name in ("color", "cutout")
    }
    both = DiffAugment("color,cutout")(x, {**noise, "applied": torch.zeros(4000, 2)}, 1.0)
    kinds = {"none": x, **whole, "both": both}
    counts = {name: int((some == kind).flatten(1).all(1).sum()) for name, kind in kinds.items()}
    assert sum(counts.values()) == 4000
    for name, share in (("none", 0.49), ("color", 0.21), ("cutout", 0.21), ("both", 0.09)):
        assert abs(counts[name] / 4000 - share) < 5 * (share * (1 - share) / 4000) ** 0.5, name


def test_mapped_over_seeds_and_strengths() -> None:
    filter = DiffAugment()
    x = torch.stack([images(), images() + 1])
    noise = [drawn(filter, x[0], seed) for seed in range(2)]
    stacked = {name: torch.stack([arguments[name] for arguments in noise]) for name in noise[0]}
    strengths = torch.tensor([1.0, 0.4], dtype=torch.float64)
    looped = torch.stack([filter(*arguments) for arguments in zip(x, noise, strengths, strict=True)])
    torch.testing.assert_close(vmap(filter)(x, stacked, strengths), looped, rtol=0, atol=0)


def test_invalid_use_of_diff_augment_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"^policy: got 'colour'; .*Did you mean 'color'\?"):
        DiffAugment("colour,cutout")
    with pytest.raises(InvalidValue, match="^policy: got 'color,color'; allowed: each name once"):
        DiffAugment("color,color")
    with pytest.raises(InvalidValue, match=r"^strengths: got 1.5; allowed: a number in \[0, 1\], a schedule"):
        DiffAugment(strengths=1.5)
    with pytest.raises(InvalidValue, match="^filter: got .*DiffAugment for samples of shape"):
        DiffAugment().check((2,))
    assert DiffAugment(strengths=Linear(0.0, 1.0, 4)).at(torch.tensor(1), torch.float64)[0] == 0.25


def test_the_probability_follows_the_reference_loop() -> None:
    """NumPy, as in training_loop.py: every 4th iteration by the sign of mean(signs) - target, with a floor of 0."""
    filter = AdaptiveAugmentation(DiffAugment(), target=0.6, length=200)
    generator, p, signs = np.random.default_rng(0), 0.0, []
    buffers = filter.initial_buffers(torch.zeros(1).double())
    t, path = torch.tensor(0), []
    for iteration in range(1, 60):
        # Confident at first, later guessing.
        logits = generator.normal(2.0 if iteration < 25 else 0.0, 1.0, 16)
        signs.append(np.sign(logits).mean())
        if iteration % 4 == 0:
            p = min(max(p + np.sign(np.mean(signs) - 0.6) * (16 * 4) / 200, 0.0), 1.0)
            signs = []
        buffers = filter.updated_buffers(buffers, torch.from_numpy(logits))
        assert float(filter.at(t, torch.float64, buffers)[0]) == pytest.approx(p, abs=1e-12)
        path.append(p)
    assert max(path) == 1.0 and path[-1] == 0.0, "it rises to 1 and falls to 0"


def test_several_maps_and_any_filter() -> None:
    filter = AdaptiveAugmentation(GaussianSmoothing(), interval=1, length=8, strengths=0.25)
    buffers = filter.initial_buffers(torch.zeros(1))
    maps = [torch.ones(4, 1, 3, 3), -torch.ones(4, 1, 2, 2)]  # on average a guess: sign 0, below 0.6
    assert float(filter.updated_buffers(buffers, maps)["augmentation"][0]) == 0.0
    sure = filter.updated_buffers(buffers, [maps[0], maps[0][..., :2]])
    assert float(sure["augmentation"][0]) == 0.75
    x, generator = torch.zeros(4, 2), torch.Generator().manual_seed(0)
    noise = filter.draw(x.shape, generator)
    assert torch.equal(filter(x, noise, filter.at(None, x.dtype, sure)[0]), 0.75 * noise["noise"])


def test_invalid_use_of_the_adaptation_is_refused() -> None:
    changes: list[tuple[str, Any]] = [("target", 2.0), ("length", 0), ("interval", 0), ("strengths", (0.1, 0.2))]
    for field, value in changes:
        with pytest.raises(InvalidValue, match=f"^{field}: got"):
            AdaptiveAugmentation(DiffAugment(), **{field: value})
    with pytest.raises(InvalidValue, match="^filter: got 'diff_augment'"):
        AdaptiveAugmentation("diff_augment")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="^filter: got .*DiffAugment for samples"):
        AdaptiveAugmentation(DiffAugment()).check((2,))
