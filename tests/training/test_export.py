"""Exported modules are loaded unchanged, in both formats; errors name what cannot be exported."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import detente
from detente import cli, methods
from detente.checks.switch import off
from detente.data.arrays import Arrays
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.games.networks import Networks
from detente.games.quadratic import Bilinear
from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from detente.networks.mlp import MLP
from detente.training.export import export, load_exported
from detente.training.stepper import Stepper
from tests.training.small_runs import discriminator, generator, ring

LATENTS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def stepper(game: Any = None, steps: int = 3) -> Stepper:
    result = Stepper(game or ring(), methods.alternating())
    for _ in range(steps):
        result.step()
    return result


def mlps() -> Adversarial:
    """A game whose networks are built from a class, and from a class with arguments by position and by name."""
    return Adversarial(
        partial(MLP, 3, 2, 8, depth=1), partial(MLP, inputs=2, outputs=1, width=16, depth=1), Ring(), latent=3, batch=8
    )


def config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def assert_same_outputs(actual: nn.Module, expected: nn.Module, *inputs: Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(actual(*inputs), expected(*inputs))


def test_loaded_modules_equal_the_exported_ones(tmp_path: Path) -> None:
    trained = stepper(mlps())
    folder = detente.export(trained, tmp_path / "one", run="mine")
    loaded = detente.load_exported(folder)
    generator, judge = trained.modules()
    assert loaded.keys() == {"generator", "discriminator"}
    assert type(loaded["generator"]) is MLP and not loaded["generator"].training
    assert_same_outputs(generator, loaded["generator"], LATENTS)
    assert_same_outputs(judge, loaded["discriminator"], generator(LATENTS))


def test_the_configuration_says_what_was_exported(tmp_path: Path) -> None:
    written = config(export(stepper(mlps()), tmp_path / "one", run="mine"))
    assert written["players"]["generator"] == {
        "class_path": "detente.networks.mlp.MLP",
        "file": "generator.safetensors",
        "arguments": {"inputs": 3, "outputs": 2, "width": 8, "depth": 1},
    }
    assert (written["step"], written["run"], written["versions"]["torch"]) == (3, "mine", str(torch.__version__))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert (written["git"] or "").rstrip("+") == commit


def test_a_module_of_unknown_arguments_is_loaded_into_one_that_is_passed(tmp_path: Path) -> None:
    trained = stepper(ring())
    folder = export(trained, tmp_path / "one")
    assert config(folder)["players"]["generator"]["arguments"] is None
    with pytest.raises(InvalidValue, match=r"generator.*load_exported\(folder, modules="):
        load_exported(folder)
    loaded = load_exported(folder, {"generator": generator(nn.BatchNorm1d(6)), "discriminator": discriminator()})
    assert_same_outputs(trained.modules()[0], loaded["generator"], LATENTS)
    assert int(loaded["generator"][1].num_batches_tracked) == 6, "buffers, too"
    with pytest.raises(InvalidValue, match="generator.*0.weight"):
        load_exported(folder, {"generator": nn.Linear(3, 2), "discriminator": discriminator()})
    with pytest.raises(InvalidValue, match="discriminator, generator"):
        load_exported(folder, {"judge": discriminator()})


def test_arguments_are_written_only_if_they_rebuild_the_module(tmp_path: Path) -> None:
    module = MLP(3, 2, 4, 1)
    correct = {"inputs": 3, "outputs": 2, "width": 4, "depth": 1}
    for number, (arguments, known) in enumerate(
        [
            (correct, True),
            ({**correct, "width": 5}, False),
            ({**correct, "activation": "tanh"}, False),
            ({**correct, "colour": 1}, False),
            ({**correct, "inputs": torch.ones(1)}, False),
        ]
    ):
        folder = export({"made": module}, tmp_path / str(number), arguments={"made": arguments})
        assert config(folder)["players"]["made"]["arguments"] == (correct if known else None)
    assert_same_outputs(load_exported(tmp_path / "0")["made"], module, LATENTS)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    export(module, tmp_path / "alone", arguments={"module": correct})
    assert torch.equal(before, torch.rand(1)), "rebuilding draws nothing from the user's generator"


def test_tied_weights_and_tensors(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    folder = export({"tied": tied, "multipliers": torch.arange(3.0)}, tmp_path / "one")
    loaded = load_exported(folder, {"tied": nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))})
    assert_same_outputs(loaded["tied"], tied, LATENTS)
    assert torch.equal(loaded["multipliers"], torch.arange(3.0))
    played = Stepper(Bilinear(2), methods.simultaneous())
    assert torch.equal(load_exported(export(played, tmp_path / "two"))["x"], played.state.vectors["x"])


def test_averaged_parameters_are_exported(tmp_path: Path) -> None:
    trained = Stepper(mlps(), methods.averaged())
    for _ in range(3):
        trained.step()
    loaded = load_exported(export(trained, tmp_path / "one"))["generator"]
    assert_same_outputs(loaded, trained.modules()[0], LATENTS)
    assert not torch.equal(torch.cat([p.reshape(-1) for p in loaded.parameters()]), trained.state.vectors["generator"])


PROGRAM = """
import sys, torch
sys.modules["detente"] = None
program, inputs = torch.export.load(sys.argv[1]).module(), torch.load(sys.argv[2])
torch.save([program(*each) for each in inputs], sys.argv[3])
"""


def test_a_program_of_torch_export_runs_without_the_class(tmp_path: Path) -> None:
    """In another process, without détente, with batches of other sizes; for a generator that takes labels, too."""
    images = Arrays(torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5, torch.arange(16) % 2)
    networks = ConditionalGenerator(3, 2, 1, 4, 2, 2, 2), ConditionalDiscriminator(2, 1, 4, 2, 2, 2)
    with off():  # so small a generator ignores its labels
        trained = stepper(Conditional(*networks, images, latent=3, batch=4))
    folder = export(trained, tmp_path / "one", "torch_export")
    inputs = [(torch.randn(count, 3), torch.arange(count) % 2) for count in (2, 5, 9)]
    torch.save(inputs, tmp_path / "inputs.pt")
    words = [str(folder / "generator.pt2"), str(tmp_path / "inputs.pt"), str(tmp_path / "outputs.pt")]
    subprocess.run([sys.executable, "-c", PROGRAM, *words], check=True, cwd=tmp_path, timeout=120)
    outputs, generator = torch.load(tmp_path / "outputs.pt"), trained.modules()[0]
    loaded = load_exported(folder)["generator"]
    for arguments, output in zip(inputs, outputs, strict=True):
        assert_same_outputs(loaded, generator, *arguments)
        torch.testing.assert_close(output, generator(*arguments), rtol=1e-6, atol=1e-6)


def test_modules_of_a_game_of_networks_are_exported(tmp_path: Path) -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        fake = net.coder(batch["real"])
        return {"coder": {"l2": (fake - batch["real"]).square().mean()}, "judge": net.judge(fake).square().mean()}

    game = Networks(
        {"coder": partial(MLP, 2, 2, 4, 1), "judge": partial(MLP, 2, 1, 4, 1)}, losses, torch.randn(16, 2), batch=4
    )
    trained = stepper(game)
    for number, format in enumerate(("safetensors", "torch_export")):
        loaded = load_exported(export(trained, tmp_path / str(number), format))
        assert_same_outputs(loaded["coder"], trained.modules()["coder"], torch.randn(3, 2))


class Branching(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if input.sum() > 0 else 2 * input)


def test_the_error_names_what_cannot_be_exported(tmp_path: Path) -> None:
    trained = stepper(Adversarial(Branching(3, 2), nn.Linear(2, 1), Ring(), latent=3, batch=8))
    with pytest.raises(InvalidValue, match="generator"):
        export(trained, tmp_path / "one", "torch_export")
    for wrong, field in (
        (lambda: export(trained, tmp_path / "one", "onnx"), "format"),  # type: ignore[arg-type]
        (lambda: export(nn.Linear(1, 1), tmp_path / "one", "torch_export"), "format"),
        (lambda: export(3, tmp_path / "one"), "trained"),  # type: ignore[arg-type]
        (lambda: export({"a": 3}, tmp_path / "one"), "trained.a"),
        (lambda: export({"a": torch.tensor([torch.nan])}, tmp_path / "one"), "a"),
    ):
        with pytest.raises(InvalidValue) as refused:
            wrong()
        assert refused.value.field == field and "\n" not in str(refused.value)
    assert not (tmp_path / "one").exists(), "nothing is written before all is known to fit"


def test_a_folder_is_replaced_only_if_it_contains_an_export(tmp_path: Path) -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    folder = export({"a": first, "b": first}, tmp_path / "one")
    with pytest.raises(InvalidValue, match="overwrite"):
        export({"a": second}, folder)
    export({"a": second}, folder, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["a.safetensors", "config.json"]
    assert torch.equal(load_file(folder / "a.safetensors")["weight"], second.weight)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(InvalidValue, match="to"):
        export({"a": second}, tmp_path / "thesis", overwrite=True)


@pytest.mark.parametrize("content", [None, "no json", "{}", '{"format": "other"}', "[]"])
def test_other_folders_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidValue, match="folder"):
        load_exported(tmp_path)


NETWORKS = """
from torch import nn
class Generator(nn.Sequential):
    def __init__(self, width: int = 4):
        super().__init__(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))
class Discriminator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
"""


def test_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "exported_networks.py").write_text(NETWORKS, encoding="utf-8")
    torch.save(torch.randn(16, 2), tmp_path / "points.pt")
    monkeypatch.chdir(tmp_path)
    names = {"generator": "exported_networks.Generator", "discriminator": "exported_networks.Discriminator"}
    networks = [word for name, path in names.items() for word in (f"--game.{name}", path)]
    words = ["train", "--game", "adversarial", *networks, "--game.generator.width", "5", "--game.latent", "3"]
    words += ["--game.data", "ring", "--game.batch", "8", "--samples", "8", "--steps", "3", "--out", "one"]
    assert cli.main(words) == 0, capsys.readouterr().err
    assert cli.main(["export", "one", "--to", "exported"]) == 0
    players = config(tmp_path / "exported")["players"]
    assert players["generator"]["arguments"] == {"width": 5} and players["discriminator"]["arguments"] == {}
    assert config(tmp_path / "exported")["step"] == 3
    assert load_exported("exported")["generator"](LATENTS).shape == (5, 2)
    assert cli.main(["export", "one", "--to", "exported"]) == 2
    assert cli.main(["export", "one"]) == 2
    assert cli.main([*words[:-1], "two", "--warm_start", "exported"]) == 0
    errors = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in errors] == ["to:", "to:"]


def test_members_of_a_side_are_programs_of_their_own(tmp_path: Path) -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        x, there = batch["x"], net.forth(batch["x"])
        error = (net.back(there) - x).square().mean()
        return {"forth": error, "back": error, "judge": net.judge(there).mean()}

    players = {"forth": nn.Linear(3, 3), "back": nn.Linear(3, 3), "judge": nn.Linear(3, 1)}
    sides = {"pair": ["forth", "back"], "judges": ["judge"]}
    trained = Stepper(Networks(players, losses, {"x": torch.randn(8, 3)}, batch=4, sides=sides), methods.alternating())
    programs = load_exported(export(trained, tmp_path / "one", "torch_export"))
    x = torch.randn(5, 3)
    for name, module in trained.modules().items():
        torch.testing.assert_close(programs[name](x), module(x))
