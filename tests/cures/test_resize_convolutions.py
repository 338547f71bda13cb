"""Tests of `ResizeConvolutions`."""

from collections.abc import Callable
from typing import Any

from torch import nn

from detente.cures.plan import candidates, withheld
from detente.cures.resize_convolutions import ResizeConvolutions
from detente.modules.resize_convolution import uneven_layers

Make = Callable[..., Any]


def maker(kernel: int) -> Callable[[], nn.Module]:
    layers = nn.Linear(3, 64), nn.Unflatten(1, (4, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(4, 1, kernel, 2, 1, kernel % 2)
    return lambda: nn.Sequential(*layers)


def test_transposed_convolutions_are_replaced(case: Make, game: Make, trains: Make) -> None:
    images = game("images").changed(generator=maker(3))
    ill = case("artefact", game=images)
    changed, _ = trains(ill, ResizeConvolutions()(ill))
    assert not uneven_layers(changed.modules["generator"])
    assert uneven_layers(images.modules["generator"]) == ["3"]
    assert ResizeConvolutions()(case("collapse", game=images)) is None
    assert ResizeConvolutions()(case("artefact", game=game("images").changed(generator=maker(4)))) is None
    assert ResizeConvolutions.title in withheld(ill)
    titles = [title for title, _ in candidates(ill, may_change_networks=True)]
    assert titles and all("upsample and convolve" in title.lower() for title in titles)
