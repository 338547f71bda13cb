"""`detente rescue`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from detente.cli import configuration, recorded_runs
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.cli.terminal import quoted
from detente.errors import InvalidValue
from detente.training.run_directory.directory import clear
from detente.training.signals import exit_status

if TYPE_CHECKING:
    from detente.checks.base import Finding
    from detente.cures.base import Change
    from detente.game import Game
    from detente.rescuing.rescue import Rescue

RANK = 85
DESCRIPTION = "Find out why a GAN fails, try cures, and print the cure that works."
EXAMPLES = """\
examples:
  detente rescue --game adversarial --game.generator mynets.Generator --game.discriminator mynets.Discriminator \\
                 --game.data photos/ --method alternating --method.learning_rate 2e-4 --steps 20000 --out runs/rescued
  detente rescue runs/mine

It accepts the options of `detente train`, or the directory of a run. The same command
continues an interrupted rescue.
"""


def main(words: Sequence[str]) -> int:
    """Rescue a set-up, or the one of a run, and return the exit status."""
    options, content = _of_directory(words) if words and not words[0].startswith("-") else _of_options(words)
    if options.out is None:
        raise InvalidValue("out", None, "a directory for what is trained", "Say where with --out runs/NAME")
    if options.overwrite and options.out.exists():
        clear(options.out, overwrite=True)
    from detente.checks.switch import off
    from detente.cures.lines import changed_words
    from detente.rescuing.rescue import rescuing
    from detente.rescuing.text import lines

    with off():  # what they find is printed with the other findings
        game, method, known, described = _built(words, content)

        def describe(change: Change, steps: int) -> tuple[dict[str, Any], str]:
            changed = changed_words(described, change)
            if steps != content["steps"]:
                place = changed.index("--steps") if "--steps" in changed else len(changed)
                changed = [*changed[:place], "--steps", str(steps), *changed[place + 2 :]]
            resolved = configuration.resolved(configuration.parse(configuration.parser("train", ""), changed))
            command = shlex.join(["detente", "train", *changed, "--out", f"{options.out}-cured"])
            return {name: resolved[name] for name in ("game", "method")}, command

        events = rescuing(
            game,
            method,
            options.budget,
            content["steps"],
            content["seeds"][0],
            options.out,
            options.may_change_networks,
            known,
            describe,
        )
        try:
            result = _with_progress_bar(events)
        except KeyboardInterrupt as interrupt:
            console.print("Stopped; the finished work is saved. The same command continues.", soft_wrap=True)
            return exit_status(interrupt)
    for line in lines(result):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"Look at it: {quoted(options.out / 'report.html')}", soft_wrap=True)
    return 0


def _of_options(words: Sequence[str]) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return the options and the configuration of a set-up that is described by the options of `train`."""
    parser = configuration.parser("rescue", DESCRIPTION, EXAMPLES)
    _add_options(parser)
    options = configuration.parse(parser, words)
    return options, configuration.resolved(options)


def _of_directory(words: Sequence[str]) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return the options and the configuration of the set-up of a run."""
    parser = Parser("rescue", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "directory of a run that went wrong")
    parser.add("--steps", int, "steps of a whole run (default: as in the run)", None)
    _add_options(parser)
    options = parser.parse(words)
    if options.out is None:
        options.out = options.run.with_name(f"{options.run.resolve().name}-rescued")
    content = configuration.resolved(recorded_runs.from_directory(options.run))
    return options, content | ({"steps": options.steps} if options.steps else {})


def _built(words: Sequence[str], content: dict[str, Any]) -> tuple[Any, Any, list[Finding], list[str]]:
    """Return the game, the method, what was found when the game was built, and the options that describe both.

    A discriminator of probabilities, which the game refuses, is converted to logits. If the networks or data of a game
    are refused for another reason, the game is a function that raises the refusal.
    """
    from detente.checks.refusals import is_refusal, refusal_finding
    from detente.methods.gradients import alternating

    try:
        run = configuration.rebuilt(content)
        return run.game, run.method, [], _described(words, content)
    except InvalidValue as error:
        if not is_refusal(error):
            raise
        refusal = error
    settings = content["game"].get("init_args") if isinstance(content["game"], dict) else None
    if "probabilities" in str(refusal) and settings and settings.get("scores") == "logits":
        settings["scores"] = "probabilities"
        run = configuration.rebuilt(content)
        described = [*_described(words, content), "--game.scores", "probabilities"]
        return run.game, run.method, [refusal_finding(refusal)], described

    def refused() -> Game:
        raise refusal

    return refused, alternating(), [], []


def _described(words: Sequence[str], content: dict[str, Any]) -> list[str]:
    """Return the set-up as options of `train`: as they were typed, or from a configuration."""
    names = ("game", "method", "steps", "seeds")
    if "--game" in words and "--config" not in words:
        described, skipping = [], False
        for word in words:
            if word.startswith("--"):
                skipping = word.removeprefix("--").partition("=")[0].partition(".")[0] in names
            described += [word] if skipping else []
        return described
    return [word for name in names for word in _as_words(f"--{name}", content[name])]


def _as_words(option: str, value: Any) -> list[str]:
    """Return a resolved option as words, the settings of a member as options of their own."""
    if isinstance(value, dict) and "class_path" in value:
        settings = value.get("init_args") or {}
        return [
            option,
            str(value["class_path"]),
            *(w for k, v in settings.items() for w in _as_words(f"{option}.{k}", v)),
        ]
    if value is None:
        return []
    if isinstance(value, dict | list | tuple):
        return [option, yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()]
    return [option, str(value)]


def _add_options(parser: Parser) -> None:
    parser.add("--out", Path, "output directory (default: RUN-rescued)", None)
    parser.add("--budget", str, "total compute, in units of one full run (default: 3x)", "3x")
    parser.add("--may-change-networks", bool, "cures may change layers of the networks", False)
    parser.add("--overwrite", bool, "replace an earlier rescue", False)


def _with_progress_bar(events: Any) -> Rescue:
    """Carry out a rescue with a progress bar for each stage, or without a terminal a line every ten seconds."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    result: Rescue | None = None
    tasks, last_print = {}, time.monotonic()
    with Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal) as progress:
        for so_far, event in events:
            result = so_far
            if event.stage not in tasks:
                tasks[event.stage] = progress.add_task(event.stage, total=event.steps)
            progress.update(tasks[event.stage], completed=event.step, total=event.steps)
            if not console.is_terminal and time.monotonic() - last_print > 10:
                console.print(f"{event.stage}: step {event.step} of {event.steps}", soft_wrap=True)
                last_print = time.monotonic()
    assert result is not None
    return result
