"""Features by any network: a module, a function, or a file that holds a module, such as DINOv2."""

from __future__ import annotations

import copy
import hashlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass
from torch.nn.functional import interpolate

from detente.data.base import Data
from detente.errors import InvalidValue, require, unknown
from detente.game import Game
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import Extractor, Predictions
from detente.metrics.features.named import imported
from detente.metrics.features.real_samples import data_of, missing_range
from detente.modules.calling import copied

Pixels = Literal["[-1, 1]", "[0, 1]", "imagenet", "unchanged"]
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1], as in torchvision
FORMS = "a module, a function, the path of a file by torch.export.save or torch.jit.save, or MODULE.NAME of one"
BUILT_IN = ("classifier", "inception")


class FeatureNetwork(Extractor):
    """Features of samples by any network.

    features = network(resize(scale(x))), flattened to (count, features)

    The network is copied and evaluated in evaluation mode, without gradient. DINOv2 (Oquab et al. 2023) needs
    `size=224, pixels="imagenet"`.

    Args:
        network: samples (count, …) to features (count, …): a module; a function of a tensor; or the path of a file
            written by `torch.export.save` (.pt2) or `torch.jit.save`.
        weights: path of a state dict for `network`, a module. Default: its own parameters.
        size: side to which images are resized, in pixels ≥ 1; bicubic and antialiased. Default: not resized.
        pixels: what the network expects: pixels in "[-1, 1]" or "[0, 1]", RGB standardized as for "imagenet", or images
            "unchanged", as the data have them.
        channels: 3 repeats grey images for a network of RGB images. Default: 3 for "imagenet", otherwise unchanged.
        name: its name in reports. Default: that of the file, class or function.

    Raises:
        InvalidValue: `network` is none of these, a file cannot be read, or a setting is invalid.
    """

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Tensor] | str | Path,
        weights: str | Path | None = None,
        size: int | None = None,
        pixels: Pixels = "[-1, 1]",
        channels: int | None = None,
        name: str = "",
    ) -> None:
        require(size is None or (type(size) is int and size >= 1), "size", size, "a whole number of pixels, at least 1")
        if pixels not in get_args(Pixels):
            raise unknown("pixels", pixels, get_args(Pixels))
        require(channels in (None, 1, 3), "channels", channels, "1, 3 or None")
        self.size, self.pixels = size, pixels
        self.channels = 3 if pixels == "imagenet" else channels
        self.resizer = "" if size is None else f"bicubic, antialiased, {size} pixels"
        self.on_disk = isinstance(network, str | Path)  # the code of others may change and their parameters not
        self.scaled = pixels != "unchanged"
        if isinstance(network, str | Path):
            require(weights is None, "weights", str(weights), "None, since the file holds the parameters")
            self._module, default = load_module(network), Path(network).name
            self._checksum = hashlib.sha256(Path(network).expanduser().read_bytes()).hexdigest()[:16]
        else:
            require(callable(network), "extractor", network, FORMS)
            self._module, default = _frozen_copy(network, weights), getattr(network, "__name__", "")
            self._checksum = _checksum(self._module)
        self._set_name(name or default or type(network).__name__)

    def named(self, name: str) -> FeatureNetwork:
        """Return the same network under another name."""
        renamed = copy.copy(self)
        renamed._set_name(name)
        return renamed

    @torch.no_grad()
    def predict(self, images: Tensor) -> Predictions:
        """Return the features of samples (count, …), images in [-1, 1]; there are no logits."""
        module, prepared = _on(self._module, images.device), self._prepared(images)
        if isinstance(module, nn.Module):
            tensors = [*module.parameters(), *module.buffers()]
            dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
            prepared = prepared.to(dtype)
        try:
            outputs = module(prepared)
        except Exception as error:  # a user's network may raise anything
            shape, reason = tuple(prepared.shape), " ".join(str(error).split())[:200]
            allowed = f"a network for samples of shape {shape}"
            raise InvalidValue("extractor", self.name, allowed, f"{type(error).__name__}: {reason}") from error
        valid = isinstance(outputs, Tensor) and outputs.dim() >= 1 and len(outputs) == len(images)
        shown = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        require(valid, "extractor", f"output {shown} of {self.name}", f"one tensor of features, ({len(images)}, …)")
        features = outputs.reshape(len(images), -1).float()
        return Predictions.of(images, features, features[:, :0])

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"FeatureNetwork({self.key}, {self.resizer or 'not resized'})"

    def _set_name(self, name: str) -> None:
        self.name = name
        settings = [self.pixels if self.pixels != "[-1, 1]" else "", "RGB" if self.channels == 3 else ""]
        self.key = " ".join(filter(None, [name, self._checksum, *settings]))

    def _prepared(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            return images.float()
        images = images.float()
        if self.channels == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if self.size is not None and tuple(images.shape[2:]) != (self.size, self.size):
            images = interpolate(images, (self.size, self.size), mode="bicubic", antialias=True)
        if self.pixels in ("[-1, 1]", "unchanged"):
            return images
        images = (images + 1) / 2
        if self.pixels == "[0, 1]":
            return images
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        return (images - mean) / deviation


def as_extractor(value: Any) -> Any:
    """Return an extractor of any form as an `Extractor`, or the name of a built-in one.

    Args:
        value: an `Extractor`; a module or function; the path of a file; MODULE.NAME of one of these; "classifier" for
            the data set's own; or "inception".

    Raises:
        InvalidValue: it is none of these.
    """
    if isinstance(value, Extractor) or value in BUILT_IN:
        return value
    if isinstance(value, str) and not Path(value).expanduser().exists():
        try:
            imported_value = imported(value, "extractor")
        except InvalidValue as error:
            hint = f"There is no such file, and it cannot be imported: {error.hint}"
            raise InvalidValue("extractor", value, f"{', '.join(BUILT_IN)}, {FORMS}", hint) from error
        imported_value = imported_value() if isinstance(imported_value, type) else imported_value
        extractor = imported_value if isinstance(imported_value, Extractor) else FeatureNetwork(imported_value)
        return extractor.named(value) if isinstance(extractor, FeatureNetwork) else extractor
    return FeatureNetwork(value)


def extractor_for(value: Any, data: Data) -> Extractor:
    """Return the extractor that the result of `as_extractor` stands for."""
    if isinstance(value, Extractor):
        return value
    return inception.load() if value == "inception" else classifier.of(data)


def missing(extractor: Any, game: Game) -> str:
    """Return in words what features of real and generated samples lack: an extractor, or data for it; empty if none."""
    if extractor == "classifier":
        lacking = classifier.missing(game)
        return lacking and f"{lacking}; or another extractor, extractor=FILE or MODULE.NAME"
    if extractor == "inception":
        return inception.missing(game)
    data = data_of(game)
    if not isinstance(data, Data):
        return "it needs real data"
    return missing_range(data) if extractor.scaled else ""


def load_module(path: str | Path) -> Any:
    """Return the module in a file by `torch.export.save` or `torch.jit.save`. Pickled modules are not loaded.

    Raises:
        InvalidValue: the file does not exist, or holds something else.
    """
    file = Path(path).expanduser()
    allowed = "a file that torch.export.save or torch.jit.save wrote"
    require(file.is_file(), "extractor", str(path), allowed, "There is no such file")
    names = zipfile.ZipFile(file).namelist() if zipfile.is_zipfile(file) else []
    inside = {name.partition("/")[2] for name in names}
    try:
        if "archive_format" in inside:
            return Exported(torch.export.load(file))
        if "constants.pkl" in inside:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
                return torch.jit.load(file, map_location="cpu").eval()
    except Exception as error:  # torch raises many kinds of errors for damaged files
        hint = " ".join(str(error).split())[:200]
        raise InvalidValue("extractor", str(path), allowed, f"It cannot be read: {hint}") from error
    hint = "For a state dict, give its module too: FeatureNetwork(module, weights=PATH). Pickled modules are not loaded"
    raise InvalidValue("extractor", str(path), allowed, hint)


class Exported(nn.Module):
    """A module that `torch.export` wrote, which contains devices as constants."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program, self.device = program, torch.device("cpu")
        self.module = program.module()

    def forward(self, samples: Tensor) -> Tensor:
        """Return the features."""
        return self.module(samples)

    def on(self, device: torch.device) -> Exported:
        """Move it to a device."""
        if device != self.device:
            self.program, self.device = move_to_device_pass(self.program, device), device
            self.module = self.program.module()
        return self


def _on(module: Any, device: torch.device) -> Any:
    """Return a network on a device."""
    if isinstance(module, Exported):
        return module.on(device)
    return module.to(device) if isinstance(module, nn.Module) else module


def _frozen_copy(module: Any, weights: str | Path | None) -> Any:
    """Return a copy in evaluation mode, with the parameters of a state dict."""
    if not isinstance(module, nn.Module):
        require(weights is None, "weights", str(weights), "None, since the network is no module")
        return module
    module = copied(module)
    if weights is not None:
        try:
            content = torch.load(Path(weights).expanduser(), map_location="cpu", weights_only=True)
            module.load_state_dict(content)
        except Exception as error:  # torch raises many kinds of errors
            allowed = f"the path of a state dict of {type(module).__name__}"
            hint = " ".join(str(error).split())[:200]
            raise InvalidValue("weights", str(weights), allowed, hint) from error
    return module.eval().requires_grad_(False)


def _checksum(module: Any) -> str:
    """Return 16 hexadecimal digits of a module's parameters, or of a function's code."""
    digest = hashlib.sha256()
    if isinstance(module, nn.Module):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    else:
        code = getattr(module, "__code__", None)
        constants = [constant for constant in getattr(code, "co_consts", ()) if not hasattr(constant, "co_code")]
        digest.update(b"" if code is None else code.co_code + repr((code.co_names, constants)).encode())
    return digest.hexdigest()[:16]
