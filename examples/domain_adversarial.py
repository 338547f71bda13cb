"""Domain-adversarial training: learn digits, and recognise inverted digits whose labels were never seen.

python examples/domain_adversarial.py
detente train --game domain_adversarial.game --method alternating --out runs/domain     # inside examples/
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import detente
from detente.data.digits import Digits


class Features(nn.Module):
    """Images (batch, 1, 16, 16) to features (batch, 64); |x| allows them to treat dark on light as light on dark."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(1, 16, 5, 2, 2)
        second, last = nn.Conv2d(16, 32, 3, 2, 1), nn.Linear(32 * 16, 64)
        self.rest = nn.Sequential(second, nn.ReLU(), nn.Flatten(), last, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, which are ≥ 0."""
        return self.rest(self.edges(x).abs())


def domain() -> nn.Module:
    """Return a module that maps features (batch, 64) to the logit of being inverted, (batch, 1)."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def digits() -> tuple[Tensor, Tensor]:
    """Return 5,000 digits, (5000, 1, 16, 16) in [-1, 1], and their labels, in a random order."""
    pixels, labels = Digits(resolution=16).arrays
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    return pixels[order] / 127.5 - 1, labels[order]


def game(strength: float = 0.3, ramp: int = 500) -> detente.Networks:
    """Return the game of three players. The features' gain by confusing the domains grows to `strength`."""

    def losses(net, batch, t):
        source = net.features(batch["digit"])

        def labels():
            return cross_entropy(net.classifier(source), batch["label"])

        def domains():
            logits = net.domain(torch.cat([source, net.features(batch["inverted"])]))
            truth = torch.arange(2, device=logits.device, dtype=logits.dtype).repeat_interleave(len(source))
            return binary_cross_entropy_with_logits(logits[:, 0], truth)

        return {
            "features": {"labels": labels, "domains": lambda: -strength * (t / ramp).clamp(max=1) * domains()},
            "classifier": labels,
            "domain": domains,
        }

    images, labels = digits()
    data = {"digit": images[:2000], "label": labels[:2000], "inverted": -images[2000:4000]}
    players = {"features": Features, "classifier": lambda: nn.Linear(64, 10), "domain": domain}
    return detente.Networks(players, losses, data, batch=32)


@torch.no_grad()
def scores(players: dict[str, nn.Module]) -> dict[str, float]:
    """Return the accuracy (%) on 1,000 other digits, inverted and as they are."""
    images, labels = digits()
    inverted, plain = (
        (players["classifier"](players["features"](x)).argmax(1) == labels[4000:]).double().mean()
        for x in (-images[4000:], images[4000:])
    )
    return {"accuracy": 100 * float(inverted), "source accuracy": 100 * float(plain)}


def main(steps: int = 1000) -> None:
    """Train, and print scores and losses four times."""
    stepper = detente.Stepper(game(), detente.methods.alternating(learning_rate=1e-3))
    for _ in range(4):
        info = [stepper.step() for _ in range(steps // 4)][-1]
        numbers = {**scores(stepper.modules()), **info.losses}
        print(f"step {stepper.state.t}:", ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()
