"""What a user's own module may hold for the command line, how it is recorded, and configuration files of every kind."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
import yaml

from detente.cli.entry_point import main
from detente.cli.naming import find

NETS = """
import functools
import sys
from pathlib import Path
from torch import nn

class Untyped(nn.Sequential):
    def __init__(self, width): super().__init__(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))
class Outer:
    class Generator(nn.Linear):
        def __init__(self): super().__init__(8, 2)
class Keywords(nn.Sequential):
    def __init__(self, *args, **kwargs): super().__init__(nn.Linear(8, kwargs["width"]), nn.Linear(kwargs["width"], 2))
def make(width=4): return Untyped(width)
def keywords(**settings): return Untyped(**settings)
def typed(width: int = 4) -> nn.Module: return Untyped(width)
def wide(widths=(4,)): return Untyped(widths[0])
plain = lambda width=4: Untyped(width)
bound = functools.partial(Untyped, 4)
bound_by_name = functools.partial(make, width=3)
instance = Untyped(4)
number = 3
class Critic(nn.Linear):
    def __init__(self): super().__init__(2, 1)
def points():
    import torch
    return torch.randn(100, 2)
def gan(width=4):
    from detente import Adversarial
    from detente.data.gaussian_mixture import Ring
    return Adversarial(lambda: Untyped(width), Critic, Ring(), latent=8, batch=16)
def method(learning_rate=0.1):
    from detente import methods
    return methods.extragradient(learning_rate=learning_rate)
"""
count = itertools.count()
GAME = "--game adversarial --game.data ring --game.latent 8".split()


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in the current directory, another one for each test."""
    name = f"nets_{next(count)}_of_a_user"
    (tmp_path / f"{name}.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("member", "settings"),
    [
        ("make", {}),
        ("make", {"width": 5}),
        ("Untyped", {"width": 5}),
        ("Outer.Generator", {}),
        ("Keywords", {"width": 5}),
        ("keywords", {"width": 5}),
        ("typed", {"width": 5}),
        ("wide", {"widths": [5]}),
        ("plain", {"width": 5}),
        ("bound", {}),
        ("bound_by_name", {"width": 5}),
        ("instance", {}),
    ],
)
def test_every_kind_of_factory_is_taken_and_recorded_as_typed(
    member: str, settings: dict, nets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--game.generator.{key}={value}" for key, value in settings.items()]
    assert (
        main(["show", *GAME, "--game.discriminator", f"{nets}.Critic", "--game.generator", f"{nets}.{member}", *words])
        == 0
    )
    shown = capsys.readouterr().out
    recorded = yaml.safe_load(shown)["game"]["init_args"]["generator"]
    path = recorded if isinstance(recorded, str) else recorded["class_path"]
    assert path == f"{nets}.{member}"
    assert isinstance(recorded, str) or (recorded.get("init_args") or {}).items() >= settings.items()
    Path("again.yaml").write_text(shown, encoding="utf-8")
    assert main(["show", "--config", "again.yaml"]) == 0 and capsys.readouterr().out == shown


def test_a_function_that_makes_data_is_taken(nets: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--game.discriminator",
        f"{nets}.Critic",
        "--game.generator",
        f"{nets}.make",
        "--game.data",
        f"{nets}.points",
    ]
    assert main(["show", *GAME, *words]) == 0, capsys.readouterr().err
    assert f"{nets}.points" in capsys.readouterr().out


def test_functions_without_annotations_make_games_and_methods_for_every_command(
    nets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    game = f"--game {nets}.gan --game.width 5 --samples 16"
    for line in (
        f"train {game} --method {nets}.method --method.learning_rate 0.2 --steps 2 --compile off --out run",
        "resume run --steps 3",
        "diagnose run --batches 2",
        "sample run --n 4 --out samples.npy",
        f"compare {game} --methods simultaneous {nets}.method:learning_rate=0.3 --seeds 0 1 --steps 2 --out both",
        "report run both --out page.html",
    ):
        assert main(line.split()) == 0, f"{line}: {capsys.readouterr().err}"
    (path,) = Path("both").glob("*.method-*/run.yaml")
    recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert recorded["game"] == {"class_path": f"{nets}.gan", "init_args": {"width": 5}}
    assert recorded["method"] == {"class_path": f"{nets}.method", "init_args": {"learning_rate": 0.3}}
    assert main(["show", "--game", f"{nets}.make"]) == 2
    assert "makes a Game. It returned an untyped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["Untyped"], "game.generator.width: got None; allowed: a value. It is required"),
        (["nothing"], "has no attribute 'nothing'"),
        (["number"], "It is int, which cannot be called"),
        (["typed", "--game.generator.width", "x"], "game.generator.width: got 'x'; allowed: an integer"),
        (["typed", "--game.generator.wdth", "4"], "Did you mean '--game.generator.width'?"),
    ],
)
def test_a_mistake_names_the_argument(
    words: list[str], expected: str, nets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{nets}.{words[0]}", *words[1:]]
    assert main(["show", *GAME, "--game.discriminator", f"{nets}.Critic", "--game.generator", *words]) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1


def test_a_class_is_recorded_where_it_was_typed_and_resumed_from_anywhere(
    nets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"alias_{nets}.py").write_text(f"from {nets} import Critic, Outer, make", encoding="utf-8")
    networks = f"--game.generator alias_{nets}.make --game.discriminator alias_{nets}.Critic".split()
    assert main(["train", *GAME, *networks, *"--steps 2 --samples 16 --compile off --out run".split()]) == 0
    recorded = yaml.safe_load(Path("run/run.yaml").read_text(encoding="utf-8"))
    assert recorded["game"]["init_args"]["discriminator"]["class_path"] == f"alias_{nets}.Critic"
    assert recorded["folder"] == os.getcwd()
    monkeypatch.chdir("/")
    assert main(["resume", str(tmp_path / "run"), "--steps", "3"]) == 0, capsys.readouterr().err


def test_a_path_may_go_through_a_class(nets: str) -> None:
    assert find("game.generator", f"{nets}.Outer.Generator", {}).__qualname__ == "Outer.Generator"


def shown_from(text: str | bytes, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    Path("mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    status = main(["show", "--config", "mine.yaml"])
    out, err = capsys.readouterr()
    return status, out if status == 0 else err


@pytest.mark.parametrize("word", ["on", "off", "On", "OFF", "yes", "no", "true", "false", "'on'", "auto"])
def test_switches_need_no_quotes_in_yaml(word: str, nets: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = shown_from(f"game: ring\ncompile: {word}\n", capsys)
    expected = {"yes": "on", "true": "on", "no": "off", "false": "off"}.get(word, word.lower().strip("'"))
    assert status == 0 and yaml.safe_load(shown)["compile"] == expected
    assert main(["show", "--game", "ring", "--compile", word.strip("'")]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["compile"] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_yaml_of_any_unicode_encoding_is_read(encoding: str, nets: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = shown_from("# é\ngame: ring\nsteps: 7\n".encode(encoding), capsys)
    assert status == 0 and yaml.safe_load(shown)["steps"] == 7


def test_the_default_method_also_holds_in_yaml(nets: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, from_file = shown_from("game: ring\n", capsys)
    assert main(["show", "--game", "ring"]) == 0 and capsys.readouterr().out == from_file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "It is empty"),
        ("- game\n- ring\n", "It is a list"),
        ("game: ring\nsteps: 3\nsteps: 4\n", "the key 'steps' occurs twice (line 3)"),
        ("game:\n\tclass_path: ring\n", "a tab; YAML is indented with spaces (line 2)"),
        (b"game: ring # \xe9\n", "a readable YAML file, saved as UTF-8 or UTF-16"),
        ("game: [ring]\n", "game: got "),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    text: str | bytes, expected: str, nets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, error = shown_from(text, capsys)
    assert status == 2 and expected in error and len(error.splitlines()) == 1


WRONG = (
    "x",
    "[1, 2]",
    "{a: 1}",
    "null",
    "mlp.x",
    "torch.nn.Linear",
    "os.path",
    "{class_path: x}",
    "{init_args: {a: b}}",
)
KEYS = (
    "game.width",
    "game.objective",
    "game.objective.x",
    "game.penalties",
    "game.penalties.x",
    "game.filter",
    "game.filter.x.y",
    "game.x",
    "method.optimizer",
    "method.optimizer.x",
    "method.optimizer.betas",
    "method.learning_rate",
    "method.learning_rate.start",
    "method.learning_rate.x",
    "steps",
    "seeds",
    "compile",
    "device",
)


def test_no_wrong_word_shows_the_insides_of_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    internal = ("NestedArg", "Namespace(", "jsonargparse", "Traceback", "detente_factories")
    for key, word in itertools.product(KEYS, WRONG):
        status = main(["show", "--game", "ring", "--method", "alternating", f"--{key}", word])
        _, error = capsys.readouterr()
        assert status in (0, 2) and len(error.splitlines()) == (status == 2), (key, word, error)
        assert not any(name in error for name in internal), (key, word, error)
