"""Whatever is thrown at the command line, it answers: exit status 0, 2 or 130, one line of complaint, no traceback."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detente import cli
from detente import registry as catalogue
from detente.cli.commands import compare, resume, train
from detente.cli.configuration import FIELDS
from detente.cli.entry_point import commands
from detente.cli.naming import parameters

GAMES, METHODS = map(catalogue.choices, ("games", "methods"))
OPTIONS = sorted(
    {
        *FIELDS,
        "config",
        "out",
        "overwrite",
        "methods",
        "budget",
        "baseline",
        "tune",
        "n",
        "seed",
        "latents",
        "help",
        "game.help",
        "method.help",
        "runs",
    }
    | {f"game.{key}" for game in GAMES.values() for key in parameters(game)[0]}
    | {f"method.{key}" for method in METHODS.values() for key in parameters(method)[0]}
    | {"game.objective.alpha", "method.optimizer.betas", "method.optimizer.learning_rate.start", "game.data.modes"}
)
NAMES = sorted({*GAMES, *METHODS, *(name for folder in catalogue.FOLDERS for name in catalogue.members(folder))})
ODD = (
    *"- -- = : ~ null true nan .nan .inf -.inf 1e999 -1e-3 0x10 1_000 [ { [] {} [[]] [r1,r2] [1,[2]] {a:1}".split(),
    *"a.b . .. 2024-01-01 ?x é &a[*a] !!python/name:os.system torch.nn.ReLU os.path builtins.dict torch.zeros".split(),
    *"runs/x collections.OrderedDict consensus:x= consensus:strength=1".split(),
    *("", " ", "\u2028", "[r1, r2]", "{class_path: r1}", "{class_path: 3}", "&a [*a]"),
    *('{"class_path": "ring", "init_args": {"modes": 0}}', "{class_path: ring, init_args: {modes: 0}}"),
)
# No integer is so large that a game would fill the memory, nor so that a scheme would take that many turns.
numbers = st.one_of(st.integers(-3, 40), st.floats(), st.sampled_from([0.0, 1e-3, 1e300, -1e-9]))
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/."), max_size=8)
words = st.one_of(st.sampled_from(NAMES), st.sampled_from(ODD), numbers.map(str), plain)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(NAMES), st.sampled_from(ODD), plain, st.dates())
keys = st.one_of(
    st.sampled_from([option.rpartition(".")[2] for option in OPTIONS]), plain, st.integers(0, 3), st.none()
)


def chosen(names: list[str], inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a game or method by name, with settings that may or may not be its own."""
    named = st.fixed_dictionaries(
        {"class_path": st.one_of(st.sampled_from(names), scalars)}, optional={"init_args": inside}
    )
    return st.one_of(st.sampled_from(names), named)


values = st.recursive(
    scalars,
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(keys, inside, max_size=3)),
    max_leaves=6,
)
settings_of = st.dictionaries(keys, values, max_size=3)
configurations = st.fixed_dictionaries(
    {},
    optional={
        "game": st.one_of(chosen(sorted(GAMES), settings_of), values),
        "method": st.one_of(chosen(sorted(METHODS), settings_of), values),
        **{field: values for field in FIELDS if field not in ("game", "method")},
    },
)
option = st.builds(
    lambda name, value, joined: [f"--{name}={value}"] if joined else [f"--{name}", value],
    st.one_of(st.sampled_from(OPTIONS), st.sampled_from(OPTIONS), plain),
    words,
    st.booleans(),
)
playing = st.builds(
    lambda game, method: ["--game", game, "--method", method],
    st.sampled_from(sorted(GAMES)),
    st.sampled_from(sorted(METHODS)),
)
command_names = st.sampled_from([*commands(), "show", "train"])


@pytest.fixture(scope="module", autouse=True)
def nothing_is_trained() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)
        for module in (train, compare, resume):
            patch.setattr(module, "carry_out", lambda *arguments, **named: 0)
        patch.setattr("detente.comparison.tuning.tune_learning_rates", lambda runs, *arguments: runs)
        yield


def answer(line: list[str]) -> None:
    """Assert that a command line gets an answer fit for people."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(line)
    output = err.getvalue()
    assert status in (0, 2), f"{line}: {output}"
    lines = [each for each in output.splitlines() if not each.startswith("warning: ")]  # of the checks
    is_one_line = len(lines) == 1 and lines[0].startswith("detente: ")
    assert lines == [] if status == 0 else is_one_line, f"{line}: {output!r}"
    assert "Traceback" not in output and "Parser key" not in output, output


quick = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.slow
@quick
@given(command_names, st.lists(option, max_size=4), st.lists(words, max_size=1))
def test_arbitrary_words(command: str, options: list[list[str]], rest: list[str]) -> None:
    answer([command, *(word for pair in options for word in pair), *rest])


@pytest.mark.slow
@quick
@given(playing, st.lists(option, max_size=3))
def test_arbitrary_settings_of_real_games_and_methods(players: list[str], options: list[list[str]]) -> None:
    answer(["train", *players, *(word for pair in options for word in pair), "--out", "never"])


@pytest.mark.slow
@quick
@given(configurations)
def test_arbitrary_configuration_files(content: dict[str, Any]) -> None:
    Path("any.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    answer(["train", "--config", "any.yaml", "--out", "never"])


@quick
@given(st.binary(max_size=60))
def test_arbitrary_bytes_as_a_configuration(content: bytes) -> None:
    Path("any.yaml").write_bytes(content)
    answer(["show", "--config", "any.yaml"])
