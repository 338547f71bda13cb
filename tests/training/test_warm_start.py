"""A run that starts from trained parameters: from a run, an export, a file or a state dictionary, for each player."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from detente import cli, methods
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.games.quadratic import Bilinear
from detente.training.export import export
from detente.training.loop import train
from detente.training.progress import initial_progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.description import description
from detente.training.run_directory.record import train_into
from detente.training.stepper import Stepper
from detente.training.warm_start import warm_started
from tests.training.small_runs import assert_same_bits, discriminator, last, lines, ring, saved

PLAYERS = ("generator", "discriminator")


def run(warm_start: Any = None, seeds: tuple[int, ...] = (0, 4), **settings: Any) -> Run:
    game = settings.pop("game", None) or ring()
    defaults = {"record_every": 2, "measure_every": 2, "checkpoint_every": 2, "samples": 8, "compile": "off"}
    return Run(game, methods.alternating(), 4, seeds, **{**defaults, **settings}, warm_start=warm_start)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "trained"
    for _ in train_into(run(), directory, {}):
        pass
    return directory


def start(warm: Run, seed: int = 0) -> dict[str, Tensor]:
    return point(initial_progress(warm, seed).state.flat())


def point(flat: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters and buffers among the tensors of a state."""
    return {name: tensor for name, tensor in flat.items() if name.startswith(("vectors/", "buffers/"))}


def trained_state(directory: Path, seed: int = 0) -> dict[str, Tensor]:
    prefix = f"{seed}/state/"
    return point({name.removeprefix(prefix): t for name, t in saved(directory).items() if name.startswith(prefix)})


def module_at(directory: Path, player: str, seed: int = 0) -> nn.Module:
    """Return a player's module with the parameters of a checkpoint."""
    (progress, *_) = [p for p in checkpoint.load(directory / "checkpoints", run()) if p.seed == seed]
    game = run().game
    assert isinstance(game, Adversarial)
    pair = {name: game.modules[name] for name in PLAYERS}
    game.write(progress.state, pair["generator"], pair["discriminator"])
    return pair[player]


def test_a_run_starts_each_seed_at_its_own_last_parameters(trained: Path) -> None:
    for seed in (0, 4):
        assert_same_bits(start(run(trained), seed), trained_state(trained, seed))
    assert_same_bits(start(run(str(trained), seeds=(7,)), 7), trained_state(trained, 0))  # not trained there: the first
    progress = initial_progress(run(trained), 0)
    assert progress.step == 0
    memory = {k: t for k, t in progress.state.flat().items() if k.startswith("memory/optimizers")}
    assert memory and all(float(tensor.abs().sum()) == 0 for tensor in memory.values()), "optimizers start anew"
    assert_same_bits({"r": progress.random}, {"r": initial_progress(run(), 0).random})


def test_a_single_player_can_be_started(trained: Path) -> None:
    warm, cold, there = start(run({"generator": trained})), start(run()), trained_state(trained)
    for name, tensor in warm.items():
        assert torch.equal(tensor, (there if "/generator" in name else cold)[name])
    assert not torch.equal(cold["vectors/generator"], there["vectors/generator"])


@pytest.mark.parametrize("form", ["state_dict", "module", ".pt", ".safetensors", "both.pt"])
def test_state_dictionaries_in_every_form(trained: Path, tmp_path: Path, form: str) -> None:
    modules = {player: module_at(trained, player) for player in PLAYERS}
    dictionaries = {player: module.state_dict() for player, module in modules.items()}
    source: Any = modules if form == "module" else dictionaries
    if form == "both.pt":
        source = tmp_path / "both.pt"
        torch.save(dictionaries, source)
    elif form.startswith("."):
        source = {player: str(tmp_path / f"{player}{form}") for player in PLAYERS}
        for player, path in source.items():
            (torch.save if form == ".pt" else save_file)(dictionaries[player], path)
    assert_same_bits(start(run(source)), trained_state(trained))
    description(run(source))


def test_the_source_is_read_once_and_may_be_gone_when_the_run_is_resumed(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "source")
    warm = run(tmp_path / "source")
    for _ in train_into(warm, tmp_path / "whole", {}):
        pass
    for _ in train_into(replace(warm, steps=2), tmp_path / "cut", {}):
        pass
    shutil.rmtree(tmp_path / "source")
    for _ in train_into(warm, tmp_path / "cut", {}, resume=True):
        pass
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert_same_bits(saved(tmp_path / "cut"), saved(tmp_path / "whole"))
    with pytest.raises(InvalidValue, match="warm_start"):
        next(train_into(warm, tmp_path / "another", {}))
    assert not (tmp_path / "another" / "run.yaml").exists(), "refused before anything is written"


def test_a_game_without_modules_can_be_started() -> None:
    game = Bilinear(2)
    values = {"x": torch.tensor([1.0, 2.0]).double(), "y": torch.tensor([[3.0, 4.0]])}
    warm = Run(game, methods.simultaneous("sgd", 0.1), 1, warm_start=values, compile="off")
    assert {k: v.tolist() for k, v in initial_progress(warm, 0).state.vectors.items()} == {"x": [1, 2], "y": [3, 4]}
    assert initial_progress(warm, 0).state.vectors["y"].dtype == torch.float64
    after = last(warm)["0/vectors/x"]
    torch.testing.assert_close(after, torch.tensor([1 - 0.3, 2 - 0.4]).double())
    with pytest.raises(InvalidValue, match=r"warm_start\.x.*4 numbers|2 numbers"):
        next(train(replace(warm, warm_start={"x": torch.zeros(3)})))


def refused(source: Any, game: Any = None) -> InvalidValue:
    with pytest.raises(InvalidValue) as error:
        next(train(run(source, game=game)))
    assert "\n" not in str(error.value) and error.value.field.startswith("warm_start")
    return error.value


def test_tensors_that_do_not_fit_are_named(trained: Path) -> None:
    good = module_at(trained, "generator").state_dict()
    missing = {name: tensor for name, tensor in good.items() if name != "0.weight"}
    assert "missing: 0.weight;" in str(refused({"generator": {**missing, "0.wieght": good["0.weight"]}}))
    assert "unexpected: head" in str(refused({"generator": {**good, "head": torch.zeros(2)}}))
    assert "0.bias (7,) for (6,)" in str(refused({"generator": {**good, "0.bias": torch.zeros(7)}}))
    error = refused({"generator": {f"model.{name}": tensor for name, tensor in good.items()}})
    assert "and 5 more" in str(error) and error.field == "warm_start.generator"


def test_a_run_of_other_networks_is_refused_by_the_names_of_its_tensors(trained: Path) -> None:
    wide = Adversarial(
        lambda: nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2)),
        discriminator,
        Ring(),
        latent=3,
        batch=8,
    )
    assert "0.weight (6, 3) for (9, 3)" in str(refused(trained, wide))
    assert "missing: 2.bias, 2.weight; unexpected: 1.bias" in str(refused(trained, ring(batch_norm=False)))


def test_frozen_parameters_must_equal_those_of_the_game() -> None:
    def frozen() -> nn.Module:
        module = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
        module[0].requires_grad_(False)
        return module

    generator = frozen()
    game = Adversarial(generator, discriminator, Ring(), latent=3, batch=8)
    better = {**generator.state_dict(), "2.bias": torch.ones(2)}
    vector = start(run({"generator": better}, game=game))["vectors/generator"]
    torch.testing.assert_close(vector[-2:], torch.ones(2))
    error = refused({"generator": {**better, "0.bias": torch.ones(6)}}, game)
    assert "0.bias" in str(error) and "frozen" in str(error)


@pytest.mark.parametrize(
    "source", ["nowhere", "damaged.pt", "damaged.safetensors", ".", {"judge": {}}, {"generator": 3}]
)
def test_unreadable_sources_are_named(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("damaged.pt", "damaged.safetensors"):
        Path(name).write_bytes(b"\x80nothing")
    refused(source)


def test_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "train --game ring --game.width 4 --game.depth 1 --game.batch 8 --samples 8 --steps 2".split()
    assert cli.main([*words, "--out", "one"]) == 0
    assert cli.main([*words, "--warm_start", "one", "--out", "two"]) == 0
    assert cli.main([*words, "--warm_start", "{generator: one}", "--out", "three"]) == 0
    assert cli.main(["resume", "three", "--steps", "3"]) == 0
    assert cli.main([*words, "--game.width", "5", "--warm_start", "one", "--out", "four"]) == 2
    assert capsys.readouterr().err.startswith("detente: warm_start.")
    assert not Path("four/run.yaml").exists()


def test_members_of_a_side_start_from_an_export_or_alone(tmp_path: Path) -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        there = net.forth(batch["x"])
        error = (net.back(there) - batch["x"]).square().mean() + net.shift.square().sum()
        return {"forth": error, "back": error, "shift": error, "judge": net.judge(there).mean()}

    def game() -> Networks:
        normed = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        players = {"forth": normed, "back": nn.Linear(3, 3), "shift": torch.zeros(2), "judge": nn.Linear(3, 1)}
        sides = {"makers": ["forth", "back", "shift"], "judges": ["judge"]}
        return Networks(players, losses, {"x": torch.randn(8, 3)}, batch=4, sides=sides)

    stepper = Stepper(game(), methods.alternating(learning_rate=0.1))
    for _ in range(3):
        stepper.step()
    export(stepper, tmp_path / "exported")
    trained, other = stepper.modules(), game()
    start = other.initial(torch.Generator().manual_seed(0))
    vectors, buffers = warm_started(tmp_path / "exported", other, 0, *start)
    assert all(torch.equal(vectors[side], vector) for side, vector in stepper.state.vectors.items())
    assert all(torch.equal(tensor, buffers["makers"][name]) for name, tensor in stepper.state.buffers["makers"].items())
    vectors, _ = warm_started({"back": trained["back"]}, other, 0, *start)
    parts, before = (other.layouts["makers"].unflatten(each["makers"]) for each in (vectors, start[0]))
    from_back = {name for name in parts if not torch.equal(parts[name], before[name])}
    assert from_back == {name for name in parts if name.startswith("back.")} != set()
    with pytest.raises(InvalidValue, match="warm_start.back: got of other shapes: weight"):
        warm_started({"back": nn.Linear(3, 2)}, other, 0, *start)
    with pytest.raises(InvalidValue, match="warm_start.bak: got 'bak'.*Did you mean 'back'"):
        warm_started({"bak": nn.Linear(3, 3)}, other, 0, *start)
