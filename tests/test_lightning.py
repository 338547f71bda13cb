"""The code of docs/lightning.md runs unchanged and trains as a plain loop does, bit for bit.

With lightning and accelerate installed it runs on them; without, on stand-ins that call the same hooks.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.games.quadratic import Bilinear
from detente.state import State
from detente.training.stepper import Stepper
from tests.training.small_runs import assert_same_bits

PAGE = (Path(__file__).parents[1] / "docs" / "lightning.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SETTING, PLAIN, LIGHTNING, FABRIC, ACCELERATE = BLOCKS
STEPS = 16  # two epochs of 256 points in batches of 32


def executed(*blocks: str) -> dict[str, Any]:
    """Run blocks of the page one after the other, and return the names that they define."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "docs/lightning.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def plain() -> State:
    """The state after the plain loop."""
    return executed(SETTING, PLAIN)["stepper"].state


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


# ---- Stand-ins ------------------------------------------------------------------------------------------------------


class LightningModule:
    def __init__(self) -> None:
        self.automatic_optimization = True
        self.logged: list[dict[str, Any]] = []

    def log_dict(self, values: dict[str, Any], prog_bar: bool = False) -> None:
        self.logged.append(values)


class Trainer:
    def __init__(self, max_epochs: int, **_: Any) -> None:
        self.max_epochs, self.epoch = max_epochs, 0

    def fit(self, module: Any, loader: Any, ckpt_path: str | None = None, weights_only: bool = True) -> None:
        self.module = module
        assert module.configure_optimizers() is None and not module.automatic_optimization
        if ckpt_path is not None:
            checkpoint = torch.load(ckpt_path, weights_only=weights_only)
            self.epoch = checkpoint["epoch"]
            module.on_load_checkpoint(checkpoint)
        while self.epoch < self.max_epochs:
            for index, batch in enumerate(loader):
                module.training_step(batch, index)
            self.epoch += 1

    def save_checkpoint(self, path: str) -> None:
        checkpoint = {"epoch": self.epoch}
        self.module.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, path)


class Fabric:
    device = torch.device("cpu")

    def __init__(self, **_: Any) -> None:
        self.logged: list[dict[str, Any]] = []

    def launch(self) -> None: ...

    def setup_dataloaders(self, loader: Any) -> Any:
        return loader

    def log_dict(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def save(self, path: str, state: dict[str, Any]) -> None:
        torch.save(state, path)

    def load(self, path: str) -> dict[str, Any]:
        return torch.load(path, weights_only=True)


class Accelerator:
    device = torch.device("cpu")

    def __init__(self, **_: Any) -> None:
        self.registered: list[Any] = []

    def prepare(self, loader: Any) -> Any:
        return loader

    def register_for_checkpointing(self, *objects: Any) -> None:
        self.registered += objects

    def save_state(self, folder: str) -> None:
        Path(folder).mkdir()
        torch.save([stepper.state_dict() for stepper in self.registered], Path(folder) / "custom.pt")

    def load_state(self, folder: str) -> None:
        for stepper, saved in zip(self.registered, torch.load(Path(folder) / "custom.pt"), strict=True):
            stepper.load_state_dict(saved)


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with stand-ins for the packages that are not installed."""
    monkeypatch.chdir(tmp_path)
    lightning, fabric, accelerate = (ModuleType(name) for name in ("lightning", "lightning.fabric", "accelerate"))
    lightning.__dict__.update(LightningModule=LightningModule, Trainer=Trainer, fabric=fabric)
    fabric.__dict__.update(Fabric=Fabric)
    accelerate.__dict__.update(Accelerator=Accelerator)
    if not installed("lightning"):
        monkeypatch.setitem(sys.modules, "lightning", lightning)
        monkeypatch.setitem(sys.modules, "lightning.fabric", fabric)
    if not installed("accelerate"):
        monkeypatch.setitem(sys.modules, "accelerate", accelerate)


real = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


# ---- The page -------------------------------------------------------------------------------------------------------


def test_the_plain_loop_trains(plain: State) -> None:
    assert int(plain.t) == STEPS
    assert not torch.equal(
        plain.vectors["generator"],
        Stepper(executed(SETTING)["game"], methods.extragradient()).state.vectors["generator"],
    )


@real
def test_lightning(plain: State) -> None:
    names = executed(SETTING, LIGHTNING)
    assert_same_bits(names["gan"].stepper.state.flat(), plain.flat())
    again = names["GAN"](names["game"], methods.extragradient())
    longer = names["lightning"].Trainer(max_epochs=3, accelerator="cpu", devices=1)
    longer.fit(again, names["loader"], ckpt_path="gan.ckpt", weights_only=True)
    uninterrupted = executed(SETTING, PLAIN.replace("range(2)", "range(3)"))["stepper"]
    assert_same_bits(again.stepper.state.flat(), uninterrupted.state.flat())


@real
def test_fabric(plain: State) -> None:
    assert_same_bits(executed(SETTING, FABRIC)["stepper"].state.flat(), plain.flat())


@real
def test_accelerate(plain: State) -> None:
    assert_same_bits(executed(SETTING, ACCELERATE)["stepper"].state.flat(), plain.flat())


# ---- What the page relies on ----------------------------------------------------------------------------------------


def test_a_stepper_continues_exactly_from_its_state_dict(tmp_path: Path) -> None:
    game = executed(SETTING)["game"]
    original, restored = (Stepper(game, methods.averaged(), seed=seed) for seed in (0, 5))
    for _ in range(3):
        original.step()
    torch.save(original.state_dict(), tmp_path / "state.pt")
    for _ in range(3):
        original.step()
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        restored.step()
    assert_same_bits(restored.state.flat(), original.state.flat())
    with pytest.raises(InvalidValue, match="state_dict"):
        Stepper(game, methods.extragradient()).load_state_dict(original.state_dict())
    with pytest.raises(InvalidValue, match="memory/optimizers/x"):
        Stepper(Bilinear(2), methods.simultaneous()).load_state_dict(
            Stepper(Bilinear(3), methods.simultaneous()).state_dict()
        )
