"""A GAN of tables: rows of the Wisconsin breast-cancer set, ten measurements given the diagnosis.

python examples/tabular_gan.py
detente train --game tabular_gan.game --method alternating --out runs/table     # inside examples/
"""

from functools import cache

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import softplus

import detente


@cache
def table() -> tuple[Tensor, Tensor]:
    """Return 569 rows of ten columns, logarithms with mean 0 and variance 1, and the diagnosis, (569, 1), 0 or 1."""
    columns, labels = load_breast_cancer(return_X_y=True)
    logs = torch.tensor(columns[:, :10], dtype=torch.float32).add(1e-2).log()
    order = torch.randperm(569, generator=torch.Generator().manual_seed(0))
    return ((logs - logs.mean(0)) / logs.std(0))[order], torch.tensor(labels, dtype=torch.float32)[order, None]


def rows(generator: torch.Generator, batch: int = 64) -> dict[str, Tensor]:
    """Draw a batch of the first 400 rows, with a latent for each generated row."""
    columns, labels = table()
    drawn = torch.randint(400, (batch,), generator=generator)
    latent = torch.randn(batch, 16, generator=generator)
    return {"columns": columns[drawn], "label": labels[drawn], "latent": latent}


class Perceptron(nn.Module):
    """Numbers and the diagnosis to numbers: (batch, inputs) and (batch, 1) to (batch, outputs)."""

    def __init__(self, inputs: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        first, second, last = nn.Linear(inputs + 1, width), nn.Linear(width, width), nn.Linear(width, outputs)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Return the numbers."""
        return self.layers(torch.cat([x, label], dim=1))


def losses(net, batch):
    """The non-saturating losses with R1, a penalty on the discriminator's gradient at real rows."""
    label = batch["label"]
    fake = net.generator(batch["latent"], label)
    return {
        "generator": lambda: softplus(-net.discriminator(fake, label)).mean(),
        "discriminator": {  # the gradient first, whose call of the discriminator the scores of real rows share
            "r1": lambda: 0.05 * net.discriminator.gradient(batch["columns"], label).square().sum(1).mean(),
            "real": lambda: softplus(-net.discriminator(batch["columns"], label)).mean(),
            "fake": lambda: softplus(net.discriminator(fake, label)).mean(),
        },
    }


def game() -> detente.Networks:
    """Return the game."""
    players = {"generator": lambda: Perceptron(16, 10), "discriminator": lambda: Perceptron(10, 1)}
    show = lambda net, batch: net.generator(batch["latent"], batch["label"])  # noqa: E731
    return detente.Networks(players, losses, data=rows, show=show)


@torch.no_grad()
def scores(players: dict[str, nn.Module]) -> dict[str, float]:
    """Return the distance to the 169 other rows, and the accuracy (%) on them of a classifier of generated rows.

    The distance is the mean over 200 directions of the 1-Wasserstein distance of the projections, diagnosis included.
    """
    generator = torch.Generator().manual_seed(1)
    (columns, labels), count = table(), 169 * 20
    diagnoses = labels[torch.randint(400, (count,), generator=generator)]
    generated = players["generator"](torch.randn(count, 16, generator=generator), diagnoses)
    directions = nn.functional.normalize(torch.randn(11, 200, generator=generator), dim=0)
    fake, real = (torch.cat(pair, 1) @ directions for pair in ((generated, diagnoses), (columns[400:], labels[400:])))
    distance = (fake.sort(0).values - real.sort(0).values.repeat_interleave(20, 0)).abs().mean()
    model = LogisticRegression().fit(generated.numpy(), diagnoses[:, 0].numpy())
    return {"distance": float(distance), "accuracy": 100 * model.score(columns[400:].numpy(), labels[400:, 0].numpy())}


def main(steps: int = 2000) -> None:
    """Train, and print scores and losses four times."""
    stepper = detente.Stepper(game(), detente.methods.alternating(learning_rate=1e-3))
    for _ in range(4):
        info = [stepper.step() for _ in range(steps // 4)][-1]
        numbers = {**scores(stepper.modules()), **info.terms["discriminator"]}
        print(f"step {stepper.state.t}:", ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()
