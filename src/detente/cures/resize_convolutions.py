"""Upsampling and convolution instead of a transposed convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.modules.resize_convolution import uneven_layers


class ResizeConvolutions(Cure):
    """Upsample and convolve instead of transposed convolutions whose kernel is not divisible by their stride.

    These draw a checkerboard, since pixels are sums of different numbers of terms.

    Source: Odena, Dumoulin & Olah 2016, Deconvolution and Checkerboard Artifacts (doi:10.23915/distill.00003).
    """

    title: ClassVar[str] = "Upsample and convolve instead of transposed convolutions"
    treats: ClassVar[Mapping[str, float]] = {"artefact": 0.8}
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether the artefact is probable."""
        return case.sure("artefact") >= SURE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        fits = case.sure("artefact") > 0 and uneven_layers(case.module("generator"))
        return Change({"resize_convolution": True}) if fits else None
