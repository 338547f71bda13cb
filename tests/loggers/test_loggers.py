"""Loggers get every number and picture of a run, continue resumed runs, and never end or alter one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import detente
from detente import cli, methods
from detente.data.arrays import Arrays
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.loggers.base import LoggedRun, Logger, Session
from detente.loggers.mlflow import MLflow
from detente.loggers.tensorboard import Tensorboard
from detente.loggers.wandb import Wandb
from detente.state import Info
from detente.training.log_sessions import numbers_of
from detente.training.loop import Tick, train
from detente.training.run import Run
from detente.training.run_directory.record import Record, train_into
from tests.training.small_runs import assert_same_bits, lines, saved

GROUPS = ("losses", "gradient_norm", "terms", "extra", "metrics")


def images() -> Run:
    """A run of two seeds whose samples are 4 by 4 images."""

    def generator() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))

    def discriminator() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 1))

    photos = torch.randint(256, (10, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    game = Adversarial(generator, discriminator, Arrays(photos), 2, batch=4)
    return Run(game, methods.alternating(), 4, (0, 3), 1, 2, 2, samples=4, compile="off")


def trained(run: Run, directory: Path, resume: bool = False) -> Path:
    for _ in train_into(run, directory, {"game": "photos", "method": {"name": "mine", "rate": 0.1}}, resume):
        pass
    return directory


def recorded(directory: Path) -> list[tuple[int, str, float]]:
    """Return every number of a record as (step, name, number)."""
    return [
        (line["step"], f"{group}/{name}/seed{line['seed']}", number)
        for line in lines(directory)
        for group in GROUPS
        for name, number in line.get(group, {}).items()
        if number is not None
    ]


# ---- A logger of one's own ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory(Logger):
    """Stores everything in a list, and fails at a chosen call."""

    entries: list[Any]
    fails: str = ""

    def open(self, run: LoggedRun) -> Session:
        self.entries.append(("open", run.name, run.step, dict(run.configuration)))
        self.fail("open")
        return InMemory(self)

    def fail(self, at: str) -> None:
        if self.fails == at:
            raise ConnectionError("network\nis down")


class InMemory(Session):
    def __init__(self, logger: Memory) -> None:
        self.logger = logger

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        assert isinstance(values, dict)
        self.logger.entries.extend((step, name, number) for name, number in values.items())
        values.clear()  # a logger gets a copy
        self.logger.fail("numbers")

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        self.logger.entries.append((step, name, pixels.copy()))
        pixels[:] = 0
        self.logger.fail("picture")

    def close(self, finished: bool) -> None:
        self.logger.entries.append(("close", finished))
        self.logger.fail("close")


@pytest.fixture(scope="module")
def unlogged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(replace(images(), loggers=()), tmp_path_factory.mktemp("runs") / "unlogged")


def test_every_number_and_picture_is_logged(unlogged: Path, tmp_path: Path) -> None:
    entries: list[Any] = []
    directory = trained(replace(images(), loggers=(Memory(entries),)), tmp_path / "logged")
    (_, name, step, configuration), *middle, end = entries
    assert (name, step, end) == ("logged", None, ("close", True))
    assert configuration["method"] == {"name": "mine", "rate": 0.1} and "versions" in configuration
    numbers = [entry for entry in middle if not isinstance(entry[2], np.ndarray)]
    assert numbers == recorded(directory) and len(numbers) > 20
    pictures = {(step, name): pixels for step, name, pixels in middle if isinstance(pixels, np.ndarray)}
    assert set(pictures) == {
        (step, f"{folder}/seed{seed}")
        for step in (0, 2, 4)
        for seed in (0, 3)
        for folder in ("samples", "interpolations")
    }
    for (step, name), pixels in pictures.items():
        folder, _, seed = name.partition("/")
        with Image.open(directory / folder / f"{seed}-step{step:08d}.png") as picture:
            np.testing.assert_array_equal(pixels[:, :, 0], np.asarray(picture))
    assert lines(directory) == lines(unlogged)
    assert not (directory / "events").exists(), "the loggers of a run replace the default"


@pytest.mark.parametrize("at", ["open", "numbers", "picture", "close"])
def test_a_logger_that_fails_never_ends_or_alters_a_run(unlogged: Path, tmp_path: Path, at: str) -> None:
    failing, other = Memory([], at), Memory([])
    with pytest.warns(RuntimeWarning) as warned:
        directory = trained(replace(images(), loggers=(failing, other)), tmp_path / "logged")
    assert [str(warning.message) for warning in warned] == [
        "logger memory stopped, training continues: ConnectionError: network is down"
    ]
    assert lines(directory) == lines(unlogged)
    assert_same_bits(saved(directory), saved(unlogged))
    assert sum(entry[0] == "close" for entry in failing.entries) == (at == "close"), (
        "the failed session gets nothing more"
    )
    assert other.entries[-1] == ("close", True)


@pytest.mark.filterwarnings("always")
def test_a_custom_logger_is_found_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from detente.loggers.base import Logger\n"
        "class Broken(Logger):\n"
        "    def open(self, run):\n"
        "        raise ConnectionError('network is down')\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    words = "train --game bilinear --steps 2 --loggers mine.Broken tensorboard --out run".split()
    for command in (words, "resume run --steps 4".split()):
        assert cli.main(command) == 0
        assert capsys.readouterr().err == (
            "detente: warning: logger broken stopped, training continues: ConnectionError: network is down\n"
        )
    assert list((tmp_path / "run" / "events").iterdir())
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 1, 2, 3, 4]


def test_an_interrupted_run_is_reported_and_its_log_continues(tmp_path: Path) -> None:
    entries: list[Any] = []
    run = replace(images(), loggers=(Memory(entries),))
    with pytest.raises(KeyboardInterrupt), Record(run, tmp_path / "cut", {}) as record:
        for tick in record.follow(train(run, None, ())):
            if tick.step == 3:
                raise KeyboardInterrupt
    assert entries[-1] == ("close", False)
    entries.clear()
    trained(run, tmp_path / "cut", resume=True)
    assert entries[0][:3] == ("open", "cut", 3) and entries[-1] == ("close", True)
    assert min(entry[0] for entry in entries[1:-1]) == 4


def test_train_without_files_logs_the_same(unlogged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_argument, by_run = [], []
    run = images()
    for _ in detente.train(run, loggers=[Memory(by_argument)]):
        pass
    for _ in detente.train(replace(run, loggers=(Memory(by_run),))):
        pass
    assert [e for e in by_argument if isinstance(e[2:], tuple) and isinstance(e[-1], float)] == recorded(unlogged)
    assert len(by_run) == len(by_argument) and sum(isinstance(entry[-1], np.ndarray) for entry in by_argument) == 12
    assert list(tmp_path.iterdir()) == []
    list(train(run))
    assert list(tmp_path.iterdir()) == [], "without loggers nothing is written"


def test_terms_of_a_loss_are_logged() -> None:
    info = Info(
        {"autoencoder": torch.tensor(3.0)},
        {"autoencoder": torch.tensor(torch.inf)},
        terms={"autoencoder": {"l1": torch.tensor(1.0), "adversarial": torch.tensor(2.0)}},
    )
    tick = Tick(1, (), {0: info}, {}, "eager")
    assert numbers_of(tick, 0) == {
        "losses": {"autoencoder": 3.0},
        "gradient_norm": {"autoencoder": None},
        "terms": {"autoencoder.l1": 1.0, "autoencoder.adversarial": 2.0},
    }


def test_the_logger_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "MyLogger" in block)
    (tmp_path / "documented_logger.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = "train --game bilinear --steps 2 --loggers documented_logger.MyLogger --out run".split()
    assert cli.main(words) == 0
    logged = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in logged] == ["0", "1", "2"] and "losses/x/seed0" in logged[1]


# ---- Settings -------------------------------------------------------------------------------------------------------


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)


def test_tensorboard_is_the_default_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Bilinear(), methods.simultaneous(), 2, compile="off")
    assert list((trained(run, tmp_path / "with") / "events").iterdir())
    without("tensorboard", monkeypatch)
    assert not (trained(run, tmp_path / "without") / "events").exists()


@pytest.mark.parametrize("logger", [Wandb(), MLflow(), Tensorboard()])
def test_a_missing_package_is_named_before_anything_is_written(
    logger: Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(logger.package, monkeypatch)
    run = Run(Bilinear(), methods.simultaneous(), 2, loggers=(logger,))
    with pytest.raises(InvalidValue, match=rf'pip install "detente\[{logger.extra}\]"'):
        next(train_into(run, tmp_path / "run", {}))
    with pytest.raises(InvalidValue, match="loggers"):
        next(train(run))
    assert not (tmp_path / "run" / "run.yaml").exists()


def test_invalid_loggers_are_refused() -> None:
    for wrong in ("wandb", Wandb):
        with pytest.raises(InvalidValue, match="loggers"):
            Run(Bilinear(), methods.simultaneous(), loggers=(wrong,))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="mode"):
        Wandb(mode="of")


def test_constructing_a_logger_does_not_import_its_package() -> None:
    assert detente.registry.members("loggers").keys() >= {"mlflow", "tensorboard", "wandb"}  # type: ignore[attr-defined]
    assert {"wandb", "mlflow"} & sys.modules.keys() == set()


def test_a_logger_whose_open_returns_nothing_gives_a_warning(tmp_path: Path) -> None:
    nothing = type("Nothing", (Logger,), {"open": lambda self, run: None})()
    with pytest.warns(RuntimeWarning, match="logger nothing stopped.*open returned NoneType, not a Session"):
        trained(replace(images(), loggers=(nothing,)), tmp_path / "run")


# ---- Services, in place of which fake modules record the calls ------------------------------------------------------


@dataclass
class FakeWandbRun:
    calls: list[Any]
    id: str

    def log(self, values: dict[str, Any], step: int) -> None:
        self.calls += [(step, name, value) for name, value in values.items()]

    def finish(self, exit_code: int) -> None:
        self.calls.append(("finish", exit_code))


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A module `wandb` that records its calls."""
    calls: list[Any] = []

    def init(**settings: Any) -> FakeWandbRun:
        calls.append(("init", settings))
        return FakeWandbRun(calls, settings.get("id", "new"))

    module = ModuleType("wandb")
    module.__dict__.update(init=init, Image=lambda pixels: ("image", pixels.shape), __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_weights_and_biases(tmp_path: Path, wandb: list[Any]) -> None:
    run = replace(images(), loggers=(Wandb(project="mine", tags=("small",)),))
    directory = trained(run, tmp_path / "one")
    (_, settings), *logged, end = wandb
    assert {name: settings[name] for name in ("project", "name", "tags", "dir", "reinit")} == {
        "project": "mine",
        "name": "one",
        "tags": ["small"],
        "dir": str(directory),
        "reinit": "create_new",
    }
    assert "id" not in settings and "mode" not in settings and settings["config"]["game"] == "photos"
    assert [entry for entry in logged if isinstance(entry[2], float)] == recorded(directory)
    shown = [entry for entry in logged if not isinstance(entry[2], float)]
    assert len(shown) == 12 and shown[0] == (0, "samples/seed0", ("image", (46, 46, 1)))
    steps = [entry[0] for entry in logged]
    assert steps == sorted(steps), "W&B refuses steps that go back"
    assert end == ("finish", 0)
    wandb.clear()
    trained(replace(run, steps=5), directory, resume=True)
    assert (wandb[0][1]["id"], wandb[0][1]["resume"]) == ("new", "allow") and wandb[1][0] == 5


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A module `mlflow` whose client records its calls."""
    calls: list[Any] = []

    class MlflowClient:
        def __init__(self, tracking_uri: str | None) -> None:
            calls.append(("client", tracking_uri))

        def get_experiment_by_name(self, name: str) -> None:
            calls.append(("experiment", name))

        def create_experiment(self, name: str) -> str:
            return "7"

        def create_run(self, experiment: str, run_name: str) -> Any:
            calls.append(("run", experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="id"))

        def update_run(self, identifier: str, status: str) -> None:
            calls.append((identifier, status))

        def log_batch(self, identifier: str, metrics: Any = (), params: Any = ()) -> None:
            assert identifier == "id" and len(metrics) <= 1000 and len(params) <= 100
            calls.extend([*metrics, *params])

        def log_image(self, identifier: str, image: np.ndarray, artifact_file: str) -> None:
            assert identifier == "id"
            calls.append((artifact_file, image.shape))

        def set_terminated(self, identifier: str, status: str) -> None:
            calls.append((identifier, status))

    entities = SimpleNamespace(
        Metric=lambda key, value, timestamp, step: (step, key, value),
        Param=lambda key, value: ("param", key, value),
    )
    module = ModuleType("mlflow")
    module.__dict__.update(MlflowClient=MlflowClient, entities=entities, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return calls


def test_mlflow(tmp_path: Path, mlflow: list[Any]) -> None:
    run = replace(images(), loggers=(MLflow(tracking_uri="sqlite:///mine.db"),))
    directory = trained(run, tmp_path / "one")
    assert mlflow[:3] == [("client", "sqlite:///mine.db"), ("experiment", "detente"), ("run", "7", "one")]
    parameters = {entry[1]: entry[2] for entry in mlflow if entry[0] == "param"}
    assert parameters["method.rate"] == "0.1" and "versions.torch" in parameters
    assert [entry for entry in mlflow if len(entry) == 3 and isinstance(entry[0], int)] == recorded(directory)
    assert ("samples/seed3-step00000004.png", (46, 46)) in mlflow
    assert mlflow[-1] == ("id", "FINISHED")
    assert json.loads((directory / "loggers.json").read_text(encoding="utf-8")) == {"mlflow": "id"}
    mlflow.clear()
    trained(replace(run, steps=5), directory, resume=True)
    assert mlflow[1] == ("id", "RUNNING") and mlflow[2][0] == 5, "a resumed run continues at the service"
