"""F11: Keras' AC-GAN on MNIST gives black pictures; G's class loss stays ln 10. Channels are divided by 4.

Adversarial has no class losses, so the game is Networks. Layers start as Keras' do (Glorot uniform, zero biases).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss, one_hot

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import UniformLatent, adam, digits
from detente.games.networks import Networks
from detente.games.terms import Losses
from detente.methods.method import Method

NAME = "Keras AC-GAN on MNIST gives black pictures"
CLASSES = ("discriminator overpowers", "labels ignored")
LINK = "https://github.com/keras-team/keras/issues/8373"
STEPS = 1000  # 20 epochs of M5K; the symptom is there from the first epoch on
MAY_CHANGE_NETWORKS = False
MARKS = DigitImages()
failed, cured = MARKS.failed, MARKS.cured


def glorot(module: nn.Module) -> nn.Module:
    """Return the module with Keras' initial weights."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


class Generator(nn.Module):
    """Latents times the embedding of the class, then layers to a picture."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.uniform, self.embedding, self.body = UniformLatent(-1, 1), nn.Embedding(10, 100), body
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return pictures, (batch, 1, 28, 28)."""
        embedded = one_hot(labels, 10).to(latents.dtype) @ self.embedding.weight
        return self.body(self.uniform(latents) * embedded)


def generator() -> nn.Module:
    """Return G: dense 256, 32·7·7, up-sampling and 5 × 5 convolutions 64 and 32, 2 × 2 convolution, tanh, no norm."""
    body = nn.Sequential(
        nn.Linear(100, 256),
        nn.ReLU(),
        nn.Linear(256, 32 * 49),
        nn.ReLU(),
        nn.Unflatten(1, (32, 7, 7)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(64, 32, 5, padding=2),
        nn.ReLU(),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(32, 1, 2),
        nn.Tanh(),
    )
    return glorot(Generator(body))


def small_generator() -> nn.Module:
    """Return the repository's G: dense 3·3·96, transposed convolutions 48, 24 and 1, batch norm, tanh."""
    body = nn.Sequential(
        nn.Linear(100, 96 * 9),
        nn.ReLU(),
        nn.Unflatten(1, (96, 3, 3)),
        nn.ConvTranspose2d(96, 48, 5),
        nn.ReLU(),
        nn.BatchNorm2d(48),
        nn.ConvTranspose2d(48, 24, 5, stride=2, padding=2, output_padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(24),
        nn.ConvTranspose2d(24, 1, 5, stride=2, padding=2, output_padding=1),
        nn.Tanh(),
    )
    return glorot(Generator(body))


class Discriminator(nn.Module):
    """Four 3 × 3 convolutions 8-16-32-64 with dropout; a probability, and log probabilities of the classes."""

    def __init__(self, slope: float = 0.3) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for inputs, outputs, stride in ((1, 8, 2), (8, 16, 1), (16, 32, 2), (32, 64, 1)):
            convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
            parts += [convolution, nn.LeakyReLU(slope), nn.Dropout(0.3)]
        self.body = nn.Sequential(*parts, nn.Flatten())
        self.score, self.classes = nn.Linear(64 * 49, 1), nn.Linear(64 * 49, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (batch,) and log probabilities of the classes (batch, 10)."""
        features = self.body(images)
        return self.score(features).sigmoid().flatten(), self.classes(features).log_softmax(1)


def discriminator() -> nn.Module:
    """Return D with slope 0.3."""
    return glorot(Discriminator())


def gentle_discriminator() -> nn.Module:
    """Return D with slope 0.2."""
    return glorot(Discriminator(0.2))


def entropy(probabilities: Tensor, target: float) -> Tensor:
    """Return Keras' binary cross-entropy, clipped at 1e-7."""
    p = probabilities.clamp(1e-7, 1 - 1e-7)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def losses_of(real_target: float = 1.0, classes_of_fakes: bool = True) -> Losses:
    """Return the losses of both players: cross-entropy of the source and of the class.

    Args:
        real_target: target of D for real pictures, and of G.
        classes_of_fakes: whether D also learns the classes of generated pictures.
    """

    def losses(net, batch):  # noqa: ANN001, ANN202
        real, labels = batch["real"], batch["label"]
        fake_labels = torch.randint(10, (len(real),))
        fake = net.generator(torch.randn(len(real), 100), fake_labels)
        (real_source, real_class), (fake_source, fake_class) = net.discriminator(real), net.discriminator(fake)
        class_loss = nll_loss(real_class, labels)
        if classes_of_fakes:
            class_loss = (class_loss + nll_loss(fake_class, fake_labels)) / 2
        source = (entropy(real_source, real_target) + entropy(fake_source, 0.0)) / 2
        return {
            "generator": {"source": entropy(fake_source, real_target), "class": nll_loss(fake_class, fake_labels)},
            "discriminator": {"source": source, "class": class_loss},
        }

    return losses


def show(net, batch):  # noqa: ANN001, ANN201
    """Return generated pictures of all classes."""
    labels = batch["label"]
    return net.generator(torch.randn(len(labels), 100), labels)


def game() -> Networks:
    """Return the failing game."""
    players = {"generator": generator, "discriminator": discriminator}
    return Networks(players, losses_of(), digits(), batch=100, show=show)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5."""
    return adam(2e-4)


def twin() -> tuple[Networks, Method]:
    """Return the cure [M]: soft labels, smaller G, slope 0.2, no class loss on fakes."""
    players = {"generator": small_generator, "discriminator": gentle_discriminator}
    return Networks(players, losses_of(0.95, False), digits(), batch=100, show=show), adam(2e-4)
