"""CycleGAN: translate digits into negatives and back without pairs; four networks, two sides.

python examples/cyclegan.py
detente train --game cyclegan.game --method alternating --out runs/cyclegan     # inside examples/
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

import detente
from detente.data.digits import Digits


def translator() -> nn.Module:
    """Return a module that maps images (batch, 1, 16, 16) to images in [-1, 1]."""
    first, last = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), last, nn.Tanh())


def judge() -> nn.Module:
    """Return a module that maps images (batch, 1, 16, 16) to one score per patch, (batch, 1, 4, 4)."""
    first, second, last = nn.Conv2d(1, 16, 4, 2, 1), nn.Conv2d(16, 32, 4, 2, 1), nn.Conv2d(32, 1, 3, 1, 1)
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)


def images() -> Tensor:
    """Return 5,000 digits, (5000, 1, 16, 16), in [-1, 1], in a random order."""
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    return Digits(resolution=16).arrays[0][order] / 127.5 - 1


def losses(net, batch):
    """Least squares of the scores, and cycles that lead back to where they began."""
    digit, negative = batch["digit"], batch["negative"]
    as_negative, as_digit = net.negate(digit), net.restore(negative)
    return {
        "negate": lambda: (1 - net.judge_negatives(as_negative)).square().mean(),
        "restore": {
            "adversarial": lambda: (1 - net.judge_digits(as_digit)).square().mean(),
            "cycle": lambda: 5 * (l1_loss(net.restore(as_negative), digit) + l1_loss(net.negate(as_digit), negative)),
        },
        "judge_negatives": lambda: least_squares(net.judge_negatives, negative, as_negative),
        "judge_digits": lambda: least_squares(net.judge_digits, digit, as_digit),
    }


def least_squares(judge, real: Tensor, fake: Tensor) -> Tensor:
    """Return a discriminator's loss: 1 for real images, 0 for the others."""
    return (1 - judge(real)).square().mean() + judge(fake).square().mean()


def game() -> detente.Networks:
    """Return the game. Negatives are those of other digits, so that no image is shown with its own negative."""
    digits = images()
    return detente.Networks(
        {"negate": translator, "restore": translator, "judge_negatives": judge, "judge_digits": judge},
        losses,
        data={"digit": digits[:2000], "negative": -digits[2000:4000]},
        batch=16,
        sides={"generators": ("negate", "restore"), "judges": ("judge_negatives", "judge_digits")},
        show=lambda net, batch: {"negatives": net.negate(batch["digit"]), "digits": net.restore(batch["negative"])},
    )


@torch.no_grad()
def scores(players: dict[str, nn.Module]) -> dict[str, float]:
    """Return the mean error of a grey level (0 … 2) of both translations of 1,000 other digits."""
    x = images()[4000:]
    errors = {"negate": l1_loss(players["negate"](x), -x), "restore": l1_loss(players["restore"](-x), x)}
    return {"error": float(sum(errors.values()) / 2)}


def main(steps: int = 1000) -> None:
    """Train, and print scores and losses four times."""
    stepper = detente.Stepper(game(), detente.methods.alternating(learning_rate=1e-3))
    for _ in range(4):
        info = [stepper.step() for _ in range(steps // 4)][-1]
        numbers = {**scores(stepper.modules()), **info.terms["generators"]}
        print(f"step {stepper.state.t}:", ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()
