"""A change as Python lines and as words of a command line gives the same game and method again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from detente import methods
from detente.cli import configuration
from detente.cures.base import Change
from detente.cures.lines import changed_words, command_words, python_lines
from detente.errors import InvalidValue
from detente.filters.diff_augment import DiffAugment
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.games import presets
from detente.objectives.label_smoothing import LabelSmoothing
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.registry import members
from detente.schedules.linear import Linear

CHANGES = {
    "everything plain": Change({"rescale": True, "spectral_norm": True, "packed": 2, "batch": 32, "input_noise": 0.1}),
    "schedules": Change(
        {"input_noise": Linear(0.3, 0.0, 800), "penalties": (R1(Linear(1.0, 0.1, 50)), R2(0.5))},
        "averaged",
        {"learning_rate": {"generator": 1e-4, "discriminator": Linear(4e-4, 0.0, 90)}, "betas": (0.0, 0.99)},
    ),
    "members": Change(
        {"objective": LabelSmoothing(0.8), "filter": GaussianSmoothing(0.2), "penalties": (R1(),)},
        "alternating",
        {"learning_rate": 1e-3, "clip": 1.0, "discriminator_turns": 3, "betas": (0.5, 0.999)},
    ),
    "one penalty": Change({"penalties": (GradientPenalty(2.5, 0.4),)}),
    "a method": Change({}, "unrolled", {"learning_rate": 1e-3, "generator_learning_rate": 2e-3, "betas": (0.5, 0.9)}),
    "no penalties": Change({"penalties": (), "objective": "hinge"}),
    "nothing": Change(),
}


def settings(game: Any) -> dict[str, Any]:
    """Return what a change may change, in a form that can be compared."""
    arguments = dict(game.arguments)
    modules = {name: repr(module) for name, module in game.modules.items()}
    hooks = {name: len(module._forward_pre_hooks) for name, module in game.modules.items()}
    kept = ("objective", "batch", "filter", "scores", "fixed_latents")
    return {name: arguments[name] for name in kept} | {"penalties": game.penalties, "modules": modules, "hooks": hooks}


@pytest.mark.parametrize("name", CHANGES)
def test_words_and_lines_of_a_change(name: str) -> None:
    change = CHANGES[name]
    user = presets.ring(width=8, depth=1), methods.alternating(learning_rate=2e-4)
    game, method = change.apply(*user)
    scope: dict[str, Any] = {"game": user[0], "method": user[1]}
    exec(python_lines(change), scope)  # noqa: S102
    assert settings(scope["game"]) == settings(game) and scope["method"] == method
    options = "--game ring --game.width 8 --game.depth=1 --method alternating --method.learning_rate=2e-4 --steps 9"
    parser = configuration.parser("train", "")
    run = configuration.build(configuration.parse(parser, changed_words(options.split(), change)))
    assert settings(run.game) == settings(game) and run.method == method and run.steps == 9


def test_words_and_lines_of_each_cure(case: Callable[..., Any]) -> None:
    ring = presets.ring(width=8, depth=1)
    ill, parser = case("data scale", game=ring), configuration.parser("train", "")
    for name, kind in members("cures").items():
        change = kind()(ill)
        if change is None:
            continue
        if change.game and "rescale" not in change.game:
            assert set(command_words(change)) > {f"--game.{next(iter(change.game))}"}, name
        scope: dict[str, Any] = {"game": ring}
        exec(python_lines(replace(change, game={})), scope)  # noqa: S102
        plain = replace(change, game={})
        line = changed_words(["--game", "ring", "--game.width", "8", "--game.depth", "1"], plain)
        run = configuration.build(configuration.parse(parser, line))
        if change.method:
            expected = plain.apply(ring, ill.method)[1]
            assert scope["method"] == expected and run.method == expected, name


def test_the_words_of_a_common_change() -> None:
    change = Change({"penalties": (R1(),), "filter": DiffAugment("cutout")}, "averaged", {"learning_rate": 0.001})
    expected = "--game.penalties r1 --game.filter diff_augment --game.filter.policy cutout --method averaged "
    assert command_words(change) == (expected + "--method.learning_rate 0.001").split()
    assert python_lines(change) == (
        "from detente import methods\n"
        "from detente.filters import DiffAugment\n"
        "from detente.games.presets import changed\n"
        "from detente.penalties import R1\n"
        "\n"
        "game = changed(game, penalties=(R1(),), filter=DiffAugment(policy='cutout'))\n"
        "method = methods.averaged(learning_rate=0.001)\n"
    )
    with pytest.raises(InvalidValue, match="--game"):
        changed_words(["--steps", "3"], change)
