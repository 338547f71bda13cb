"""A small vocoder, from spectrograms to sound, with multi-period and multi-scale discriminators, on synthetic tones.

python examples/vocoder.py
detente train --game vocoder.game --method alternating --out runs/vocoder       # inside examples/
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, interpolate, l1_loss, leaky_relu

import detente


def tones(generator: torch.Generator, count: int = 8) -> dict[str, Tensor]:
    """Return tones, (count, 1, 1024) at 8 kHz, and their eight harmonics with equal strengths and other phases."""
    pitch, strength, phase, other = torch.rand(4, count, 8, 1, generator=generator)
    turns = (100 + 300 * pitch[:, :1]) * torch.arange(1, 9)[:, None] * torch.arange(1024) / 8000
    waves = strength.square() * torch.sin(2 * math.pi * (turns + phase))
    return {"sound": waves.sum(1, keepdim=True) / 4, "source": torch.sin(2 * math.pi * (turns + other))}


def spectrum(sound: Tensor, size: int = 256) -> Tensor:
    """Return the logarithms of the short-time Fourier magnitudes, (batch, size / 2, 16)."""
    window = torch.hann_window(size, device=sound.device)
    wave = torch.view_as_real(torch.stft(sound[:, 0], size, 64, window=window, return_complex=True)[:, 1:, 1:])
    return (wave.square().sum(-1) + 1e-4).log() / 2


def features(sound: Tensor) -> Tensor:
    """Return what the vocoder gets: the spectrum in 32 bands, (batch, 32, 16)."""
    return avg_pool1d(spectrum(sound).mT, 4).mT


class Vocoder(nn.Module):
    """Features (batch, 32, 16) and harmonics (batch, 8, 1024) to sound (batch, 1, 1024): strengths, then a filter."""

    def __init__(self) -> None:
        super().__init__()
        self.strengths = nn.Sequential(nn.Conv1d(32, 32, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv1d(32, 8, 3, 1, 1))
        self.filter = nn.Sequential(nn.Conv1d(8, 16, 7, 1, 3), nn.LeakyReLU(0.1), nn.Conv1d(16, 1, 7, 1, 3), nn.Tanh())

    def forward(self, features: Tensor, source: Tensor) -> Tensor:
        """Return the sound, in [-1, 1]."""
        return self.filter(source * interpolate(self.strengths(features), 1024, mode="linear"))


class Judge(nn.Module):
    """Sound, of which it sees means of `scale` samples, and of these every `period`-th, to the maps of three layers."""

    def __init__(self, period: int = 1, scale: int = 1) -> None:
        super().__init__()
        self.period, self.scale = period, scale
        self.layers = nn.ModuleList([nn.Conv1d(1, 8, 5, 3), nn.Conv1d(8, 16, 5, 3), nn.Conv1d(16, 1, 3)])

    def forward(self, sound: Tensor) -> list[Tensor]:
        """Return the maps, (batch · period, channels, time); the last are the scores."""
        x = avg_pool1d(sound, self.scale)[:, 0, : 1024 // self.scale // self.period * self.period]
        first = self.layers[0](x.unflatten(1, (-1, self.period)).mT.reshape(len(x) * self.period, 1, -1))
        second = self.layers[1](leaky_relu(first, 0.1))
        return [first, second, self.layers[2](leaky_relu(second, 0.1))]


def losses(net, batch):
    """HiFi-GAN's losses: least squares of all scores, matching of all maps, and the distance of the spectra."""
    sound = batch["sound"]
    generated = net.vocoder(features(sound), batch["source"])
    pairs = [(judge(sound), judge(generated)) for judge in net.judges]
    maps = [(real, fake) for reals, fakes in pairs for real, fake in zip(reals, fakes, strict=True)]
    return {
        "vocoder": {
            "spectrum": lambda: 20 * sum(l1_loss(spectrum(generated, n), spectrum(sound, n)) for n in (256, 128)),
            "matching": lambda: 2 * sum(l1_loss(fake, real) for real, fake in maps),
            "adversarial": lambda: sum((1 - fakes[-1]).square().mean() for _, fakes in pairs),
        },
        "judges": lambda: sum((1 - r[-1]).square().mean() + f[-1].square().mean() for r, f in pairs),
    }


def game() -> detente.Networks:
    """Return the game of the vocoder and five discriminators, which move as one player."""
    judges = [*(partial(Judge, period) for period in (2, 3, 5)), Judge, partial(Judge, scale=4)]
    show = lambda net, batch: net.vocoder(features(batch["sound"]), batch["source"])  # noqa: E731
    return detente.Networks({"vocoder": Vocoder, "judges": judges}, losses, data=tones, show=show)


@torch.no_grad()
def scores(players: dict[str, nn.Module]) -> dict[str, float]:
    """Return the log-spectral distance (dB) to tones that were not trained on."""
    sound, source = tones(torch.Generator().manual_seed(1), 256).values()
    difference = spectrum(players["vocoder"](features(sound), source)) - spectrum(sound)
    return {"distance": float(20 / math.log(10) * difference.square().mean((1, 2)).sqrt().mean())}


def main(steps: int = 1000) -> None:
    """Train, and print scores and losses four times."""
    stepper = detente.Stepper(game(), detente.methods.alternating(learning_rate=1e-3))
    for _ in range(4):
        info = [stepper.step() for _ in range(steps // 4)][-1]
        numbers = {**scores(stepper.modules()), **info.terms["vocoder"]}
        print(f"step {stepper.state.t}:", ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()
