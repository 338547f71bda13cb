"""The Inception network of 2015, from torch-fidelity: the features of FID and KID, and the classes of the score."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detente.errors import InvalidValue
from detente.game import Game
from detente.metrics.features.extractor import Extractor, Predictions
from detente.metrics.features.real_samples import data_of, missing_range

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # torch-fidelity's name of the file
SIDE = 32  # smaller images mean nothing to a network for 299 pixels


class Inception(Extractor):
    """Inception's 2,048 features and 1,008 logits (without their bias) of RGB images.

    Args:
        network: maps uint8 images (n, 3, H, W) to features and logits.
        key: a unique name of this extractor.
    """

    resizer = "bilinear, not antialiased, 299 pixels (TensorFlow 1)"

    def __init__(self, network: Any, key: str) -> None:
        self.network, self.key = network, key

    @torch.no_grad()
    def predict(self, images: Tensor) -> Predictions:
        """Return features and logits of images (n, 3, H, W) in [-1, 1], rounded to the network's 256 levels."""
        pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        features, logits = self.network.to(images.device)(pixels)
        return Predictions.of(images, features, logits)


def fits(game: Game) -> bool:
    """Return whether the game's data are RGB images of at least 32 pixels a side."""
    shape = tuple(getattr(data_of(game), "shape", ()))
    return len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= SIDE


def missing(game: Game) -> str:
    """Return in words why Inception's features are not defined for the data of `game`; empty if they are."""
    shape = getattr(data_of(game), "shape", None)
    reason = "this game has no data" if shape is None else f"this game's data have shape {tuple(shape)}"
    if not fits(game):
        return f"it needs RGB images of at least {SIDE} pixels a side, and {reason}"
    return missing_range(data_of(game))


def require_available(weights: str | None = None) -> None:
    """Raise `InvalidValue` if torch-fidelity or the file of weights is missing."""
    try:
        load(weights)
    except ModuleNotFoundError as error:
        raise InvalidValue("metrics", "inception", "an environment with torch-fidelity", str(error)) from error


def load(weights: str | None = None) -> Inception:
    """Return the network.

    Args:
        weights: path of torch-fidelity's Inception weights; None for the file in torch's cache. Nothing is downloaded.

    Raises:
        ModuleNotFoundError: torch-fidelity cannot be imported; the error shows how to install it.
        InvalidValue: the file does not exist.
    """
    kind = _network_class()
    file = Path(weights).expanduser() if weights else Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    if not file.is_file():
        hint = f"Download torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3 and save it as {file}"
        raise InvalidValue("weights", str(file), f"torch-fidelity's file {WEIGHTS}", hint)
    return _loaded(kind, file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded(kind: Any, file: Path, changed: int) -> Inception:
    del changed  # part of the cache's key, so that a replaced file is read again
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    network = kind("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(file))
    return Inception(network.eval(), f"inception {checksum[:16]}")


def _network_class() -> Any:
    """Return torch-fidelity's class, imported only when needed."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # pyright: ignore
    except (ImportError, RuntimeError, OSError) as error:  # an incompatible torchvision raises any of these
        first_line = str(error).partition("\n")[0]
        raise ModuleNotFoundError(
            "Inception's features need torch-fidelity, which cannot be imported: pip install 'detente[inception]', with"
            f" a torchvision built for your torch {torch.__version__}. The error was: {first_line}"
        ) from error
    return FeatureExtractorInceptionV3
