"""Your own loop: your data loader, your running average, your checkpoints, your files.

python examples/own_loop.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import detente
from detente import methods
from detente.networks.mlp import MLP


def two_moons(count: int) -> Tensor:
    """Return points (count, 2) on two interlocking half circles."""
    angle, upper = torch.pi * torch.rand(count), torch.arange(count) % 2 == 0
    x, y = angle.cos() - 0.5, angle.sin() - 0.25
    return torch.where(upper[:, None], torch.stack([x, y], 1), -torch.stack([x, y], 1)) + 0.05 * torch.randn(count, 2)


def main(epochs: int = 4) -> None:
    """Train on a loader's batches, average the generator, stop, resume, and write the result."""
    torch.manual_seed(0)
    points = two_moons(4096)
    loader = DataLoader(TensorDataset(points), batch_size=128, shuffle=True)  # with any augmentation and workers

    # Modules, not classes: training starts at their parameters.
    generator, discriminator = MLP(8, 2, width=64, depth=2), MLP(2, 1, width=64, depth=2)
    game = detente.Adversarial(generator, discriminator, data=points, latent=8)
    method = methods.extragradient(learning_rate=1e-3)
    stepper = detente.Stepper(game, method, seed=0)

    # A player is one vector, so a running average of the generator is one line.
    average = stepper.state.vectors["generator"].clone()
    for epoch in range(1, epochs + 1):
        for batch in loader:
            info = stepper.step(batch)
            average.lerp_(stepper.state.vectors["generator"], 0.01)
        norms = ", ".join(f"{player} {norm:.3f}" for player, norm in info.gradient_norm.items())
        print(f"epoch {epoch}: gradient norms {norms}; {info.gradient_evaluations} gradients a step")

    with tempfile.TemporaryDirectory() as folder:
        # Stop and resume: the state is a dictionary of tensors; the random generator's state is one more tensor.
        file = Path(folder) / "stopped.safetensors"
        save_file({**stepper.state.flat(), "random": stepper.generator.get_state()}, file)

        later = detente.Stepper(game, method)
        tensors = load_file(file)
        later.generator.set_state(tensors.pop("random"))
        later.state = detente.State.from_flat(tensors, later.state)
        stepper.step(points[:128]), later.step(points[:128])
        same = all(torch.equal(first, second) for first, second in zip(*map(_tensors, (stepper, later)), strict=True))
        print(f"went on from a file, bit for bit: {same}")

        # The averaged generator, written into your own module, is an ordinary module with ordinary weights.
        vectors = {**stepper.state.vectors, "generator": average}
        averaged = detente.State(stepper.state.t, vectors, stepper.state.buffers)
        game.write(averaged, generator, discriminator)
        torch.save(generator.state_dict(), Path(folder) / "generator.pt")

    with torch.no_grad():
        fakes = generator(torch.randn(2000, 8))
    nearest = torch.cdist(fakes, points).min(1).values
    print(f"median distance of a fake to the nearest real point: {nearest.median():.3f}")


def _tensors(stepper: detente.Stepper) -> list[Tensor]:
    return list(stepper.state.flat().values())


if __name__ == "__main__":
    main()
