"""Old names keep working for one release, with a warning that gives the new one."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from detente import deprecated, methods
from detente.autodiff import vector_jacobian
from detente.cli import configuration, recorded_runs
from detente.games.quadratic import Bilinear
from detente.optimizers.base import Optimizer
from detente.optimizers.sgd import SGD


@pytest.mark.parametrize("old", deprecated.MODULES)
def test_modules_are_found_by_their_old_paths(old: str) -> None:
    stand_in, today = importlib.import_module(old), importlib.import_module(deprecated.MODULES[old])
    owned = (name for name, value in vars(today).items() if getattr(value, "__module__", "").startswith(today.__name__))
    name = next((name for name in owned if not name.startswith("_")), None)
    if name is None:  # a folder
        return
    with pytest.warns(DeprecationWarning, match=f"{old}.{name} is now {today.__name__}.{name}"):
        assert getattr(stand_in, name) is getattr(today, name)
    assert not hasattr(stand_in, "nothing_of_this_name")


@pytest.mark.parametrize("old", deprecated.NAMES)
def test_renamed_members_are_found_where_their_modules_were_or_are(old: str) -> None:
    module, _, name = old.rpartition(".")
    paths = [before for before, today in deprecated.MODULES.items() if today == module] or [module]
    for path in paths:
        with pytest.warns(DeprecationWarning, match=deprecated.NAMES[old].rpartition(".")[2]):
            assert callable(getattr(importlib.import_module(path), name)) or name == "Turns"


def test_a_subclass_of_old_names_still_works() -> None:
    with pytest.warns(DeprecationWarning, match="needs_noise"):

        class Shaken(SGD):
            noisy = True

    assert Shaken(0.1).needs_noise and not SGD(0.1).needs_noise

    with pytest.warns(DeprecationWarning, match="step_in_place"):

        class Writing(Optimizer):
            def initial(self, vector: Tensor) -> dict[str, Tensor]:
                return {}

            def __call__(self, vector: Tensor, *_: object) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
                return vector, {}

            def overwrite(self, vector: Tensor, *_: object) -> tuple[Tensor, dict[str, Tensor]]:
                return vector + 1, {}

    zero = torch.zeros(1)
    assert Writing().step_in_place(zero, zero, {}, zero)[0] == 1


def test_an_argument_by_its_old_name() -> None:
    game = Bilinear()
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    with pytest.warns(DeprecationWarning, match="columns"):
        _, old = vector_jacobian(game, vectors, buffers, {}, wanted=("x",))
    assert torch.equal(old["x"], vector_jacobian(game, vectors, buffers, {}, columns=("x",))[1]["x"]) and len(old) == 1


def test_a_run_yaml_with_old_class_paths_is_read(tmp_path: Path) -> None:
    content = {
        "game": {"class_path": "detente.standard_games.ring", "init_args": {"width": 4}},
        "method": {"class_path": "detente.methods.later.lookahead", "init_args": {"every": 3}},
        "steps": 5,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    run = configuration.build(recorded_runs.from_directory(tmp_path))
    assert run.steps == 5 and run.method == methods.lookahead(every=3)
