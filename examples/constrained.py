"""Learning with a constraint: a classifier that accepts both groups equally often, by Lagrange multipliers.

python examples/constrained.py
detente train --game constrained.game --method extragradient --out runs/constrained     # inside examples/
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import detente

ALLOWED = 0.02  # difference of the groups' mean acceptance


@cache
def table(seed: int = 0, rows: int = 4000) -> dict[str, Tensor]:
    """Return generated rows: five columns, the group (0 or 1), and whether to accept, which depends on the group."""
    generator = torch.Generator().manual_seed(seed)
    group = (torch.rand(rows, generator=generator) < 0.4).float()
    columns = torch.randn(rows, 5, generator=generator) + group[:, None] * torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0])
    chance = (columns @ torch.tensor([1.0, 1.0, -1.0, 0.5, 0.0]) + columns[:, 0] * columns[:, 2] - 0.5).sigmoid()
    return {"columns": columns, "group": group, "accept": torch.bernoulli(chance, generator=generator)}


def classifier() -> nn.Module:
    """Return a module that maps columns (batch, 5) to a logit, (batch, 1)."""
    return nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 1))


def excess(logits: Tensor, group: Tensor) -> Tensor:
    """Return by how much each of the two constraints is violated, (2,): ±difference − ALLOWED ≤ 0."""
    accepted, mean = logits.sigmoid(), detente.batch_mean  # of the whole batch, also where several ranks share it
    share = mean(group)
    difference = mean(accepted * (group - share)) / (share * (1 - share))  # of the groups' means, as a covariance
    return torch.stack([difference, -difference]) - ALLOWED


def losses(net, batch):
    """The Lagrangian: the classifier minimises it, the multipliers maximise it."""
    logits = net.classifier(batch["columns"])[:, 0]
    constraint = net.multipliers @ excess(logits, batch["group"])
    return {
        "classifier": {
            "error": lambda: binary_cross_entropy_with_logits(logits, batch["accept"]),
            "constraint": constraint,
        },
        "multipliers": -constraint,
    }


def game() -> detente.Networks:
    """Return the game, in which the multipliers stay ≥ 0."""
    players = {"classifier": classifier, "multipliers": torch.zeros(2)}
    project = {"multipliers": lambda values: values.clamp(min=0)}
    return detente.Networks(players, losses, data=table(), batch=256, project=project)


@torch.no_grad()
def scores(players: dict) -> dict[str, float]:
    """Return the violation of the constraint, in percentage points, and the cross-entropy, on all rows."""
    rows = table()
    logits = players["classifier"](rows["columns"])[:, 0]
    violation = 100 * float(excess(logits, rows["group"]).max().clamp(min=0))
    return {"violation": violation, "error": float(binary_cross_entropy_with_logits(logits, rows["accept"]))}


def main(steps: int = 2000) -> None:
    """Train, and print scores and losses four times."""
    rates = {"classifier": 3e-3, "multipliers": 3e-2}
    stepper = detente.Stepper(game(), detente.methods.extragradient(learning_rate=rates))
    for _ in range(4):
        info = [stepper.step() for _ in range(steps // 4)][-1]
        numbers = {**scores(stepper.modules()), **info.losses}
        print(f"step {stepper.state.t}:", ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()
