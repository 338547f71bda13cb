"""What the adversarial game refuses of the modules it is given."""

from __future__ import annotations

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial


class Checkpointed(nn.Module):
    """A module that forgets what is within it and computes it again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.within, self.reentrant = nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.within, self.first(x), use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, pytest.param(True, marks=pytest.mark.filterwarnings("ignore:None of"))])
def test_gradient_checkpointing_is_refused_where_it_would_go_wrong_silently(reentrant: bool) -> None:
    with pytest.raises(InvalidValue, match="checkpointing"):
        Adversarial(Checkpointed(reentrant), nn.Linear(2, 1), torch.randn(8, 2), 3, batch=4)
