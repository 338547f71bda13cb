"""Values of options: conversion against types, members with their settings, and errors that name options."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from torch import nn

from detente import cli
from detente.cli.binding import Member, Word, bind, make, plain
from detente.cli.entry_point import commands
from detente.errors import InvalidValue
from detente.networks.mlp import MLP
from detente.objectives.base import Objective
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.penalties.base import Penalty
from detente.registry import members
from detente.schedules import Linear, Schedule

Switch = Literal["auto", "on", "off"]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "1_000", 1000),
        (int, 3, 3),
        (float, "1e-3", 1e-3),
        (float, 3, 3.0),
        (float | None, "null", None),
        (float | None, "None", None),
        (bool, "yes", True),
        (bool, False, False),
        (str, "007", "007"),
        (str, "null", "null"),
        (str | None, "null", None),
        (Path, "a/b", Path("a/b")),
        (Switch, "on", "on"),
        (Switch, True, "on"),
        (Switch, "no", "off"),
        (Literal[1, 3], "3", 3),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (tuple[float, float], "[1, 2]", (1.0, 2.0)),
        (Sequence[Sequence[float]], "[[1], [2]]", [[1.0], [2.0]]),
        (int | tuple[int, ...], "[1, 2]", (1, 2)),
        (Mapping[str, int], "{a: 1}", {"a": 1}),
        (Objective | str, "hinge", "hinge"),
        (list, "[1, a]", [1, "a"]),
        (Any, "{a: [1]}", {"a": [1]}),
    ],
)
def test_a_value_is_converted_to_the_type(annotation: Any, value: Any, expected: Any) -> None:
    bound = bind("x", annotation, Word(value) if isinstance(value, str) else value)
    assert bound == expected and type(bound) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "allowed"),
    [
        (int, "1.5", "an integer"),
        (int, "true", "an integer"),
        (float, "fast", "a number"),
        (bool, "3", "true or false"),
        (Switch, "maybe", "'auto', 'on' or 'off'"),
        (tuple[float, float], "[1]", "a list of numbers"),
        (tuple[int, ...], "3", "a list of integers"),
        (Mapping[str, int], "{a: b}", "a mapping from names to integers"),
        (Sequence[Penalty], "r11", f"{', '.join(members('penalties'))}. Did you mean 'r1'?"),
        (float | Schedule, "liner", "a number or a schedule. Did you mean 'linear'?"),
        (Optimizer, "torch.nn.Linear", "an optimizer"),
    ],
)
def test_what_does_not_fit_is_named_as_typed(annotation: Any, value: str, allowed: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        bind("game.x", annotation, Word(value))
    assert str(caught.value) == f"game.x: got {value!r}; allowed: {allowed}"


def test_members_are_built_from_names_paths_and_mappings() -> None:
    linear = {"class_path": "linear", "init_args": {"start": 1, "end": "0.1", "steps": 5}}
    adam = bind("x", Optimizer, {"class_path": "adam", "init_args": {"learning_rate": linear}})
    assert make(adam) == Adam(Linear(1.0, 0.1, 5))
    assert plain(adam)["init_args"]["learning_rate"]["class_path"] == "detente.schedules.linear.Linear"
    assert make(bind("x", Optimizer, plain(adam))) == make(adam)
    both = bind("x", Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer], {"a": "adam", "b": "sgd"})
    assert isinstance(both, dict) and isinstance(make(both)["a"], Adam)
    assert len(bind("x", Sequence[Penalty], Word("r1"))) == 1, "one member stands for a list of one"


def test_a_factory_makes_a_new_module_at_every_call() -> None:
    settings = {"inputs": 2, "outputs": 1, "width": 4, "depth": 1}
    described = {"class_path": "mlp", "init_args": settings}
    factory = make(bind("x", Callable[[], nn.Module] | nn.Module, described))
    first, second = factory(), factory()
    assert isinstance(first, MLP) and first is not second
    member = bind("x", nn.Module, described)
    assert isinstance(member, Member) and isinstance(make(member), MLP)


@pytest.mark.parametrize(
    ("words", "expected", "unexpected"),
    [
        ("--game ring --method svrg", "losses are finite sums. Use --game.points 2560", "Adversarial"),
        ("--game bilinear --method svrg", "--game ring --game.points", "fixed_latents"),
        ("--game digits --method svrg", "--game.fixed_latents true", "=True"),
        ("--game ring --game.width 0", "game.width: got 0", ""),
        ("--game ring --game.penalties r1 --game.penalties.strength -1", "game.penalties.strength: got -1.0", ""),
        ("--game ring --method.order [a,b]", "method.order: got ('a', 'b')", ""),
        ("--game images --game.data mnist", "game.data: got 'mnist'", "name: "),
        ("--game ring --method.optimizer.betas [0,0]", "Say which with --method.optimizer NAME", ""),
        ("--game ring --game.width.x 3", "got '--game.width.x'; allowed: --game.width with an integer", "class_path"),
    ],
)  # fmt: skip
def test_an_error_names_the_option(
    words: str, expected: str, unexpected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    assert cli.main(["show", *words.split()]) == 2
    error = capsys.readouterr().err
    assert expected in error and not (unexpected and unexpected in error) and error.count("\n") == 1


def test_a_member_on_the_command_line_keeps_what_fits_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "game: {class_path: ring, init_args: {width: 8}}\nmethod: {class_path: alternating, init_args: "
    text += "{optimizer: {class_path: adam, init_args: {betas: [0.1, 0.9]}}, discriminator_turns: 2}}\n"
    Path("mine.yaml").write_text(text, encoding="utf-8")

    def settings(words: str) -> dict[str, Any]:
        assert cli.main(["show", "--config", "mine.yaml", *words.split()]) == 0, capsys.readouterr().err
        return yaml.safe_load(capsys.readouterr().out)["method"]["init_args"]

    assert settings("--method alternating --method.order [discriminator,generator]")["discriminator_turns"] == 2
    consensus = settings("--method consensus")
    assert consensus["optimizer"]["init_args"]["betas"] == [0.1, 0.9] and "discriminator_turns" not in consensus
    assert settings("--method.optimizer sgd")["optimizer"] == "sgd"
    assert settings("--method.optimizer.epsilon 0.5")["optimizer"]["init_args"]["betas"] == [0.1, 0.9]


@pytest.mark.parametrize(
    ("file", "words", "expected"),
    [
        ("{a: {class_path: linear, init_args: {start: 1, end: 0, steps: 5}}}", "--method.learning_rate 3e-4", 3e-4),
        ("{generator: 1e-3, discriminator: 2e-3}", "--method.learning_rate.generator 3e-4", [3e-4, 2e-3]),
        ("{class_path: linear, init_args: {start: 1, end: 0, steps: 5}}", "--method.learning_rate 3e-4", 3e-4),
        ("0.1", "--method.learning_rate.generator 1 --method.learning_rate.discriminator 2", [1.0, 2.0]),
    ],
)
def test_words_change_numbers_of_a_file(
    file: str, words: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"game: ring\nmethod: {{class_path: alternating, init_args: {{learning_rate: {file}}}}}\n"
    Path("mine.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["show", "--config", "mine.yaml", *words.split()]) == 0, capsys.readouterr().err
    rate = yaml.safe_load(capsys.readouterr().out)["method"]["init_args"]["learning_rate"]
    assert ([*rate.values()] if isinstance(rate, dict) else rate) == expected


def test_any_member_of_a_run_takes_settings(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--game ring --loggers wandb --loggers.project gans --warm_start.generator a --warm_start.discriminator b"
    assert cli.main(["show", *words.split()]) == 0, capsys.readouterr().err
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["loggers"][0]["init_args"]["project"] == "gans"
    assert shown["warm_start"] == {"generator": "a", "discriminator": "b"}


def test_a_flag_may_be_followed_by_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (("--channels_last", True), ("--channels_last false", False), ("", False)):
        assert cli.main(["show", *words.split(), "--game", "ring"]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["channels_last"] is expected


def test_a_command_is_one_file() -> None:
    modules = [importlib.import_module(f"detente.cli.commands.{name}") for name in commands()]
    assert all(isinstance(module.DESCRIPTION, str) and callable(module.main) for module in modules)
    assert len({module.RANK for module in modules}) == len(modules)


def test_rates_per_player_and_schedules_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    rates = "--method.learning_rate.generator linear(1e-3,0,20) --method.learning_rate.discriminator 4e-4"
    assert cli.main(["show", *"--game ring --method alternating".split(), *rates.split()]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)["method"]["init_args"]["learning_rate"]
    assert settings["discriminator"] == 4e-4
    rate = make(bind("rate", float | Schedule, settings["generator"]))
    assert rate == Linear(1e-3, 0.0, 20) == make(bind("rate", float | Schedule, Word("linear(1e-3, 0, 20)")))
    words = "--game ring --method alternating --method.learning_rate cosin(1e-3,0,20)".split()
    assert cli.main(["train", "--out", "unused", *words]) == 2
    assert "Did you mean 'cosine'?" in capsys.readouterr().err
