"""Tests of `JoinedLabels`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from detente.cures.joined_labels import JoinedLabels
from detente.data.arrays import Arrays
from detente.games.conditional import Conditional

Make = Callable[..., Any]


class Ignoring(nn.Module):
    """A network that gets labels and does not use them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.body(x)


def test_labels_reach_samples_and_scores(case: Make, game: Make, trains: Make) -> None:
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    data = Arrays(points, torch.arange(64) % 3)
    ill = case("labels ignored", game=Conditional(lambda: Ignoring(4, 2), lambda: Ignoring(2, 1), data, 4, batch=16))
    changed, _ = trains(ill, JoinedLabels()(ill))
    made, judged = (changed.modules[name] for name in ("generator", "discriminator"))
    zeros, ones = torch.zeros(8, dtype=torch.int64), torch.ones(8, dtype=torch.int64)
    latents = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    assert bool(((made(latents, zeros) - made(latents, ones)).abs() > 1e-3).all())
    torch.testing.assert_close(made(latents, ones), made.body(latents + made.label_shift(ones)))
    expected = judged.body(points[:8]) + (points[:8] * judged.label_head(ones)).sum(1, keepdim=True)
    torch.testing.assert_close(judged(points[:8], ones), expected)
    first, second = (changed.initial(torch.Generator().manual_seed(seed))[0] for seed in (0, 1))
    assert not torch.equal(first["generator"], second["generator"]), "new layers are drawn for each seed"
    assert JoinedLabels()(case("labels ignored", game=game())) is None, "there are no labels"
    assert JoinedLabels()(case("collapse", game=ill.game)) is None, "they are used"
