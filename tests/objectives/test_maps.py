"""Scores of any shape: the mean over a map, the sum over several, against the loops of pix2pixHD and HiFi-GAN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

import detente.filters
import detente.objectives
import detente.penalties
from detente.errors import InvalidValue
from detente.filters.diff_augment import DiffAugment
from detente.objectives.base import Objective
from detente.objectives.features import feature_matching
from detente.objectives.hinge import Hinge
from detente.objectives.label_smoothing import LabelSmoothing
from detente.objectives.least_squares import LeastSquares
from detente.objectives.non_saturating import NonSaturating
from detente.objectives.relativistic import Relativistic
from detente.penalties.r1 import R1
from detente.registry import members
from detente.schedules.linear import Linear

SHAPES = [(3, 1, 4, 5), (3, 1, 2, 2), (3, 7)]  # a PatchGAN at two scales, and one period of HiFi-GAN
every_objective = pytest.mark.parametrize("name", members("objectives"))


def outputs(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def both(objective: Objective, real: Any, fake: Any) -> Tensor:
    return torch.stack([objective.discriminator_loss(real, fake), objective.generator_loss(real, fake)])


@every_objective
def test_a_map_is_averaged_and_several_maps_are_summed(name: str) -> None:
    objective, real, fake = members("objectives")[name](), outputs(0), outputs(1)
    losses = [both(objective, r.flatten(), f.flatten()) for r, f in zip(real, fake, strict=True)]
    for expected, r, f in zip(losses, real, fake, strict=True):
        torch.testing.assert_close(both(objective, r, f), expected)
        assert torch.equal(both(objective, [r], (f,)), both(objective, r, f)), "one map in a list, to the last bit"
    total = torch.stack(losses).sum(0)
    torch.testing.assert_close(both(objective, real, fake), total)
    nested = [{"scale": (maps[0], [maps[1]]), "period": maps[2]} for maps in (real, fake)]
    torch.testing.assert_close(both(objective, *nested), total)


def test_losses_equal_hifi_gan() -> None:
    real, fake = outputs(0), outputs(1)
    discriminator, generator = torch.zeros(()).double(), torch.zeros(()).double()
    for r, f in zip(real, fake, strict=True):
        discriminator = discriminator + torch.mean((1 - r) ** 2) + torch.mean(f**2)
        generator = generator + torch.mean((1 - f) ** 2)
    torch.testing.assert_close(2 * both(LeastSquares(), real, fake), torch.stack([discriminator, generator]))


def test_relativistic_pairs_are_formed_by_position() -> None:
    real, fake = outputs(0)[0], outputs(1)[0]
    loss_of_pairs = Relativistic().discriminator_loss(real, fake)
    expected = torch.stack([torch.log1p(torch.exp(f - r)) for r, f in zip(real.flatten(), fake.flatten(), strict=True)])
    torch.testing.assert_close(loss_of_pairs, expected.mean())
    for other in (fake[:2], fake.mean((1, 2, 3)), fake[:, :, :1, :1]):  # torch would broadcast some of these silently
        for loss in (Relativistic().discriminator_loss, Relativistic().generator_loss):
            with pytest.raises(InvalidValue, match=r"^fake: got \(.*in pairs"):
                loss(real, other)


@every_objective
def test_several_maps_have_exact_gradients_mapped_too(name: str) -> None:
    objective = members("objectives")[name]()

    def loss(*scores: Tensor) -> Tensor:
        return both(objective, list(scores[:3]), list(scores[3:])) @ torch.tensor([1.0, 2.0], dtype=torch.float64)

    scores = [scores[:, ..., :2].clone().requires_grad_() for scores in (*outputs(0), *outputs(1))]
    assert torch.autograd.gradcheck(loss, scores)
    slope = grad(loss, argnums=3)
    stacked = [torch.stack([tensor, 0.5 * tensor]).detach() for tensor in scores]
    looped = torch.stack([slope(*(tensor[i] for tensor in stacked)) for i in range(2)])
    torch.testing.assert_close(vmap(slope)(*stacked), looped)


def test_invalid_score_outputs_are_refused() -> None:
    real: Any = outputs(0)
    fake: Any = outputs(1)
    with pytest.raises(InvalidValue, match="^fake: got '2 maps'; allowed: as many as for the real samples, 3"):
        Hinge().discriminator_loss(real, fake[:2])
    with pytest.raises(InvalidValue, match=r"^real: got \['str'\]; allowed: a tensor"):
        Hinge().discriminator_loss((real[0], "features"), fake[:2])  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match=r"^fake: got \[\]"):
        Hinge().generator_loss(None, fake[:0])
    with pytest.raises(InvalidValue, match="^real: got None"):
        Relativistic().generator_loss(None, fake)


def test_feature_matching_equals_pix2pixhd_and_hifi_gan() -> None:
    """Two discriminators with two features each; pix2pixHD with n_layers = 1."""
    generator = torch.Generator().manual_seed(2)

    def features() -> list[list[Tensor]]:
        shapes = [(3, 4, 5, 5), (3, 8, 3, 3)]
        return [[torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(2)]

    real, fake = features(), features()
    hifi, pix2pix = torch.zeros(()).double(), torch.zeros(()).double()
    for dr, dg in zip(real, fake, strict=True):
        for rl, gl in zip(dr, dg, strict=True):
            hifi = hifi + torch.mean(torch.abs(rl - gl))
            pix2pix = pix2pix + 1 / 2 * 4.0 / (1 + 1) * torch.nn.L1Loss()(gl, rl.detach()) * 10.0
    torch.testing.assert_close(2 * feature_matching(real, fake), 2 * hifi)
    torch.testing.assert_close(10 * 4 / (1 + 1) / 2 * feature_matching(real, fake), pix2pix)
    assert feature_matching(real, real) == 0
    with pytest.raises(InvalidValue, match=r"^fake: got \(3, 8, 3, 3\); allowed: the shape of the real features"):
        feature_matching(real[0][0], fake[0][1])
    assert torch.autograd.gradcheck(lambda x: feature_matching(real[0], [x, fake[0][1]]), fake[0][0].requires_grad_())


def test_smoothed_labels() -> None:
    """Cross-entropy with the targets 0.9 and 0, whose best score is at the probability 0.9 p/(p + q)."""
    real, fake = outputs(0)[2], outputs(1)[2]
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = cross_entropy(real, torch.full_like(real, 0.9)) + cross_entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(LabelSmoothing().discriminator_loss(real, fake), expected)
    plain = NonSaturating()
    torch.testing.assert_close(LabelSmoothing(1.0).discriminator_loss(real, fake), plain.discriminator_loss(real, fake))
    assert torch.equal(LabelSmoothing().generator_loss(None, fake), plain.generator_loss(None, fake))
    p, q = 0.7, 0.2  # densities of real and fake samples at one point
    best = torch.tensor(0.9 * p / (p + q), dtype=torch.float64).logit()
    slope = grad(lambda s: p * LabelSmoothing().discriminator_loss(s, torch.tensor(-1e3)))(best)
    slope = slope + grad(lambda s: q * LabelSmoothing().discriminator_loss(torch.tensor(1e3), s))(best)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)


@pytest.mark.parametrize("label", [0.0, 1.1, float("nan"), -0.5])
def test_invalid_labels_are_refused(label: float) -> None:
    with pytest.raises(InvalidValue, match=r"^real_label: got .*; allowed: a number in \(0, 1\], or a schedule"):
        LabelSmoothing(label)


@pytest.mark.parametrize("kind", [LabelSmoothing, LeastSquares])
def test_a_label_may_follow_a_schedule(kind: Any) -> None:
    real, fake = outputs(0)[2], outputs(1)[2]
    objective = kind(real_label=Linear(0.5, 0.9, 10))
    assert objective.scheduled and not kind().scheduled and not Hinge().scheduled
    loss = objective.at(torch.tensor(5), torch.float64).discriminator_loss(real, fake)
    torch.testing.assert_close(loss, kind(real_label=0.7).discriminator_loss(real, fake))
    assert objective == kind(real_label=Linear(0.5, 0.9, 10)), "an objective at a step is a copy"
    with pytest.raises(InvalidValue, match="^real_label: got Linear.*at.t.* first"):
        objective.discriminator_loss(real, fake)


def test_members_by_class_name() -> None:
    assert detente.objectives.Hinge is Hinge and detente.objectives.LabelSmoothing is LabelSmoothing
    assert detente.objectives.feature_matching is feature_matching
    assert detente.penalties.R1 is R1 and detente.filters.DiffAugment is DiffAugment
    for package in (detente.objectives, detente.penalties, detente.filters):
        for name in ("Hing", "hing", "_Hidden"):
            with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute '{name}'"):
                getattr(package, name)
