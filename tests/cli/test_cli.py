"""The command line: every line of the README's kind works, and every mistake gets one line that names it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from detente import cli
from detente.cli import display
from detente.cli.entry_point import commands
from detente.training.run_directory import checkpoint, record
from tests.training.small_runs import assert_same_bits, lines, saved

NETWORKS = """
import torch
from torch import nn


class Generator(nn.Sequential):
    def __init__(self, width: int = 4):
        super().__init__(nn.Linear(128, 3 * 6 * 6), nn.BatchNorm1d(108), nn.Tanh(), nn.Unflatten(1, (3, 6, 6)))


class Discriminator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * 6 * 6, 1))


class TwoScores(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * 6 * 6, 2))


class Points(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(128, 2))


class Broken(nn.Module):
    def __init__(self):
        raise ZeroDivisionError("one over zero")


def loose(**settings):
    return Generator()
"""
RING = "--game ring --game.width 4 --game.depth 1 --game.batch 8 --samples 8"
MINE = "--game adversarial --game.generator mynets.Generator --game.discriminator mynets.Discriminator"

Call = Callable[[str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's networks and photos, and a few short runs."""
    place = tmp_path_factory.mktemp("place")
    (place / "mynets.py").write_text(NETWORKS, encoding="utf-8")
    (place / "photos").mkdir()
    for index in range(1000):  # fewer are too few for a discriminator, which `train` warns of
        pixels = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "photos" / f"{index}.png")
    arrays = {"nan": np.full((80, 2), np.nan), "bright": np.full((80, 3, 6, 6), 7.0), "few": np.zeros((3, 2))}
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    (place / "empty").mkdir()
    (place / "file").write_text("", encoding="utf-8")
    return place


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend("")

    def called(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(line.split())
        out, err = capsys.readouterr()
        return status, out, err

    yield called
    for name in ("mynets",):
        sys.modules.pop(name, None)


def train(call: Call, out: str, options: str = "--game bilinear --method simultaneous --steps 4 --seeds 0 1") -> None:
    if not Path(out).exists():
        status, _, err = call(f"train {options} --out {out}")
        assert status == 0, err


def test_the_lines_of_the_manual_work(call: Call) -> None:
    """In their order, with fewer steps and smaller networks."""
    small = "--game.width 4 --game.depth 1 --game.batch 8 --samples 8"
    for line, expected in (
        ("list", "past_extragradient"),
        (
            f"train --game ring --method consensus --method.strength 10 --steps 3 --seeds 0 1 --out runs/one {small}",
            "eager",
        ),
        (
            "train --game digits --game.width 2 --samples 8 --method alternating --steps 1 --out runs/digits",
            "detente report",
        ),
        (
            f"compare --game ring --methods simultaneous consensus extragradient --seeds 0 1 2 --steps 2 {small} "
            "--out runs/ring",
            "report.html",
        ),
        ("show --game ring --method consensus", "strength: 10.0"),
        ("train --config runs/one/run.yaml --steps 4 --out runs/two", "runs/two"),
        ("resume runs/one --steps 5", "runs/one"),
        ("sample runs/digits --n 64 --out grid.png", "64 samples"),
        ("sample runs/one --n 30 --seed 1 --out points.png", "30 samples of seed 1 at step 5"),
        ("report runs/ring runs/one --out page.html", "page.html"),
        (f"train {MINE} --game.data photos/ --method alternating --steps 2 --out runs/mine", "runs/mine"),
    ):
        status, out, err = call(line)
        assert status == 0 and err == "", f"{line}: {err}"
        assert expected in out, f"{line}: {out}"
    shown = yaml.safe_load(call("show --game ring --method consensus")[1])
    assert shown["method"]["init_args"]["strength"] == 10 and shown["steps"] == 2000 and shown["seeds"] == [0]
    with Image.open("grid.png") as grid:
        assert grid.size == (8 * 30 - 2, 8 * 30 - 2)
    assert {path.name for path in Path("runs/ring").iterdir()} == {
        "simultaneous", "consensus", "extragradient", "report.html", "comparison.yaml",
    }  # fmt: skip
    page = Path("page.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("simultaneous", "consensus", "extragradient", "one"))
    assert (Path("runs/mine/samples") / "seed0-step00000002.png").exists()
    first, second = (yaml.safe_load(Path(f"runs/{name}/run.yaml").read_text("utf-8")) for name in ("one", "two"))
    assert second["game"] == first["game"] and second["seeds"] == [0, 1] and (first["steps"], second["steps"]) == (5, 4)


def test_diagnose_says_how_stable_a_run_is(call: Call) -> None:
    if "diagnose" not in commands():
        pytest.skip("not built yet")
    train(call, "runs/stable", f"{RING} --method simultaneous --steps 2")
    status, out, err = call("diagnose runs/stable")
    assert status == 0 and len(out.splitlines()) > 3, err


def test_a_yaml_file_says_the_same_as_words(call: Call) -> None:
    words = (
        "--game dirac_gan --game.objective hinge --game.penalty r1 --game.penalty.strength 3 "
        "--method alternating --method.optimizer adam --method.optimizer.betas [0.1,0.9] --seeds 3 4 --steps 7"
    )
    _, shown, err = call(f"show {words}")
    assert err == ""
    Path("mine.yaml").write_text(shown, encoding="utf-8")
    assert call("show --config mine.yaml")[1] == shown
    short = """
        game:
          class_path: dirac_gan
          init_args: {objective: hinge, penalty: {class_path: r1, init_args: {strength: 3.0}}}
        method:
          class_path: alternating
          init_args: {optimizer: {class_path: adam, init_args: {betas: [0.1, 0.9]}}}
        seeds: [3, 4]
    """
    Path("short.yaml").write_text(short, encoding="utf-8")
    assert call("show --config short.yaml --steps 7")[1] == shown
    assert call("show --steps 7 --config short.yaml")[1] == shown, "words have the last word, wherever they stand"
    assert yaml.safe_load(call("show --config short.yaml --method consensus")[1])["method"]["class_path"].endswith(
        "consensus"
    )


def test_members_are_asked_for_by_name_at_every_depth(call: Call) -> None:
    line = (
        "show --game adversarial --game.generator mlp --game.generator.inputs 4 --game.generator.outputs 2 "
        "--game.generator.width 8 --game.generator.depth 1 --game.discriminator mlp --game.discriminator.inputs 2 "
        "--game.discriminator.outputs 1 --game.discriminator.width 8 --game.discriminator.depth 1 --game.data ring "
        "--game.data.modes 5 --game.latent 4 --game.penalties [r1,r2] --method method --method.field consensus "
        "--method.scheme alternating --method.optimizer adam --method.optimizer.learning_rate linear "
        "--method.optimizer.learning_rate.start 1e-3 --method.optimizer.learning_rate.end 1e-4 "
        "--method.optimizer.learning_rate.steps 9"
    )
    status, out, err = call(line)
    assert status == 0, err
    shown = yaml.safe_load(out)
    assert shown["game"]["init_args"]["data"]["init_args"]["modes"] == 5
    assert [p["class_path"].rpartition(".")[2] for p in shown["game"]["init_args"]["penalties"]] == ["R1", "R2"]
    assert shown["method"]["init_args"]["optimizer"]["init_args"]["learning_rate"]["init_args"]["steps"] == 9


@pytest.mark.parametrize("command", commands())
def test_help_is_a_page_for_people(call: Call, command: str) -> None:
    status, out, err = call(f"{command} --help")
    assert status == 0 and err == ""
    assert out.startswith(f"usage: detente {command}") and f"\n  detente {command}" in out, "an example"
    for jargon in ("<class", "Literal", "null", "subclass", "CLASS_PATH", "ITEM", "SUPPRESS", "int |", "+ "):
        assert jargon not in out, jargon


def test_lists_are_whole_and_read_nothing_as_markup(call: Call) -> None:
    from detente import registry as catalogue

    _, out, _ = call("list")
    for folder in catalogue.FOLDERS:
        for name, member in catalogue.members(folder).items():
            assert f"  {name} " in out and catalogue.summary(member) in out
    assert "games" not in call("list optimizers")[1].splitlines()


def test_help_pages_of_games_and_methods(call: Call) -> None:
    status, out, _ = call("train --method.help consensus")
    out = " ".join(out.split())  # lines are broken anywhere
    assert status == 0 and "--method.strength" in out and "default 10.0" in out and "Mescheder" in out
    assert "a number, a schedule, a mapping from names to numbers" in " ".join(out.split())
    assert "--game.modes" in call("train --game.help ring")[1]
    assert "--game.generator (required)" in call("compare --game.help adversarial")[1]
    assert "swiss_roll" in call("show --game.help")[1]
    overview = call("--help")[1]
    assert all(f"  {name}" in overview for name in commands())
    assert call("--version")[1].startswith("detente ")


RUN = "--method simultaneous --out out"
MISTAKES = {
    "unknown command": ("trian --game ring", "'train'"),
    "unknown option": (f"train --game ring {RUN} --stepz 3", "'--steps'"),
    "unknown option of resume": ("resume runs/base --stepz 3", "'--steps'"),
    "unknown game": (f"train --game rng {RUN}", "'ring'"),
    "unknown method": ("train --game ring --method consensu --out out", "'consensus'"),
    "unknown setting": ("train --game ring --method consensus --method.strenght 3 --out out", "'--method.strength'"),
    "unknown deep setting": (
        f"train --game dirac_gan --game.penalty r1 --game.penalty.strenght 3 {RUN}",
        "'--game.penalty.strength'",
    ),
    "unknown setting in compare": (
        "compare --game ring --methods consensus:strenght=3 --out out",
        "'--method.strength'",
    ),
    "unknown objective": (f"train --game ring --game.objective hing {RUN}", "'hinge'"),
    "unknown role member": (f"train --game dirac_gan --game.objective hing {RUN}", "game.objective: got 'hing'"),
    "unknown penalty": (f"train --game ring --game.penalties r11 {RUN}", "'r1'"),
    "unknown optimizer": (f"train --game ring {RUN} --method.optimizer adamm", "'adam'"),
    "unknown config key": (f"train --config stepz.yaml {RUN}", "'steps'"),
    "unknown nested config key": ("train --config strenght.yaml --out out", "method.strenght"),
    "unknown list": ("list gmes", "'games'"),
    "method for compare": ("compare --game ring --method consensus --out out", "'--methods'"),
    "missing config": (f"train --config none.yaml {RUN}", "config: got 'none.yaml'"),
    "no mapping": (f"train --config list.yaml {RUN}", "option names and values"),
    "no yaml": (f"train --config broken.yaml {RUN}", "a readable YAML file"),
    "not text": (f"train --config photos/0.png {RUN}", "a readable YAML file"),
    "integer": (f"train --game ring {RUN} --steps many", "steps: got 'many'; allowed: an integer"),
    "whole": (f"train --game ring --game.batch 1.5 {RUN}", "game.batch: got '1.5'; allowed: an integer"),
    "number": (
        f"train --game ring {RUN} --method.learning_rate fast",
        "method.learning_rate: got 'fast'; allowed: a number",
    ),
    "list": (f"train --game bilinear --game.start here {RUN}", "game.start: got 'here'; allowed: a list of numbers"),
    "choice": (f"train --game ring {RUN} --compile maybe", "compile: got 'maybe'; allowed: 'auto', 'on' or 'off'"),
    "seeds": (f"train --game ring {RUN} --seeds a b", "seeds"),
    "sample count": ("sample runs/base --n many", "n: got 'many'; allowed: an integer"),
    "zero rate": (f"train --game ring {RUN} --method.learning_rate 0", "learning_rate: got 0.0"),
    "negative rate": (f"train --game ring {RUN} --method.learning_rate -1e-3", "learning_rate: got -0.001"),
    "zero batch": (f"train --game ring --game.batch 0 {RUN}", "batch: got 0"),
    "zero steps": (f"train --game ring {RUN} --steps 0", "steps: got 0"),
    "large batch": (
        f"train {MINE} --game.data photos/ --game.batch 1001 {RUN}",
        "batch: got 1001; allowed: at most the 1000",
    ),
    "generator's shape": (
        f"train {MINE.replace('.Generator', '.Points')} --game.data photos/ {RUN}",
        "(batch, 3, 6, 6)",
    ),
    "two scores": (f"train {MINE.replace('Discriminator', 'TwoScores')} --game.data photos/ {RUN}", "--discriminator"),
    "one that breaks": (f"train {MINE.replace('.Generator', '.Broken')} --game.data photos/ {RUN}", "one over zero"),
    "no such network": (
        f"train {MINE.replace('.Generator', '.Genrator')} --game.data photos/ {RUN}",
        "mynets.Genrator",
    ),
    "no such module": (f"train --game adversarial --game.generator nonets.G {RUN}", "nonets"),
    "needed": (f"train --game adversarial --game.generator mynets.Generator {RUN}", "game.discriminator"),
    "not a number": (f"train {MINE} --game.data nan.npy {RUN}", "finite"),
    "no such data": (f"train {MINE} --game.data nowhere/ {RUN}", "nowhere"),
    "no images": (f"train {MINE} --game.data empty/ {RUN}", "empty"),
    "no game": (f"train {RUN}", "game"),
    "no out": ("train --game ring --method simultaneous", "--out"),
    "stray word": (f"train --game ring {RUN} 3", "'3'"),
    "no value": ("train --game ring --method simultaneous --out", "out"),
    "existing run": ("train --game bilinear --method simultaneous --out runs/base", "--overwrite"),
    "below a file": ("train --game bilinear --method simultaneous --out file/run", "file/run"),
    "in /proc": ("train --game bilinear --method simultaneous --out /proc/run", "/proc/run"),
    "unwritable page": ("report runs/base --out file/page.html", "file/page.html"),
    "unwritable picture": ("sample runs/gan --out file/grid.png", "file/grid.png"),
    "picture of no kind": ("sample runs/gan --out grid.nopicture", "grid.nopicture"),
    "not a run": ("resume empty", "empty"),
    "no run to report": ("report empty", "empty"),
    "nothing to report": ("report nowhere", "nowhere"),
    "nothing named": ("report", "runs"),
    "no generator": ("sample runs/base", "a run of a game with a generator"),
    "no such seed": ("sample runs/gan --seed 7", "seed: got 7"),
    "too few steps": ("resume runs/base --steps 3", "at least 4"),
}


@pytest.mark.parametrize(("line", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_gets_one_line_that_names_it(call: Call, line: str, expected: str) -> None:
    Path("stepz.yaml").write_text("stepz: 3\ngame: ring\n", encoding="utf-8")
    Path("strenght.yaml").write_text(
        "game: ring\nmethod: {class_path: consensus, init_args: {strenght: 3}}\n", encoding="utf-8"
    )
    Path("list.yaml").write_text("- game\n", encoding="utf-8")
    Path("broken.yaml").write_text("game: [ring\n", encoding="utf-8")
    if "runs/base" in line:
        train(call, "runs/base")
    if "runs/gan" in line:
        train(call, "runs/gan", f"{RING} --method simultaneous --steps 1")
    status, out, err = call(line)
    assert status == 2
    assert err.startswith("detente: ") and err.count("\n") == 1 and out == ""
    assert expected.removeprefix("--") in err
    for jargon in ("Traceback", "class_path '", "Parser key", "jsonargparse", "<class", "subclass"):
        assert jargon not in err
    assert not Path("out").exists(), "nothing is made by mistake"
    assert cli.main(["--debug", "list", "metrics"]) == 0


def test_debug_shows_where(call: Call) -> None:
    from detente.errors import InvalidValue

    for line in ("--debug train --game rng", "resume empty --debug"):
        with pytest.raises(InvalidValue):
            call(line)
    words = [sys.executable, "-m", "detente", "list", "gmes", "--debug"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode != 0 and "Traceback" in done.stderr


@pytest.mark.parametrize("ending", ["truncated", "foreign", "missing"])
def test_a_checkpoint_that_cannot_be_used(call: Call, ending: str) -> None:
    out = f"runs/{ending}"
    train(call, out, "--game bilinear --method simultaneous --steps 4 --checkpoint_every 2")
    files = checkpoint.files(Path(out) / "checkpoints")
    for path in files:
        if ending == "truncated":
            path.write_bytes(path.read_bytes()[:-9])
        elif ending == "foreign":
            path.write_bytes(checkpoint.files(foreign(call) / "checkpoints")[-1].read_bytes())
        else:
            path.unlink()
    if ending == "missing":
        assert call(f"resume {out} --steps 5")[0] == 0, "it begins again"
        assert [line["step"] for line in lines(Path(out))] == [0, 1, 2, 3, 4, 5]
        return
    before = {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
    status, _, err = call(f"resume {out} --steps 5")
    assert status == 2 and "checkpoint" in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()} == before


def foreign(call: Call) -> Path:
    train(call, "runs/other", "--game bilinear --game.dimension 2 --method simultaneous --steps 4")
    return Path("runs/other")


def test_a_truncated_newest_checkpoint_gives_way_to_the_one_before(call: Call) -> None:
    options = "--game bilinear --method optimistic --seeds 1 2 --checkpoint_every 2 --record_every 1"
    train(call, "runs/straight", f"{options} --steps 6")
    train(call, "runs/bent", f"{options} --steps 6")
    newest = checkpoint.files(Path("runs/bent/checkpoints"))[-1]
    newest.write_bytes(newest.read_bytes()[:400])
    assert call("resume runs/bent")[0] == 0
    assert_same_bits(saved(Path("runs/bent")), saved(Path("runs/straight")))
    assert lines(Path("runs/bent")) == lines(Path("runs/straight"))


@pytest.mark.parametrize("where", ["checkpoint", "lines"])
def test_on_a_full_disk_the_run_stops_whole_and_goes_on_later(
    call: Call, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    options = f"{RING} --method simultaneous --checkpoint_every 2 --record_every 1 --measure_every 3 --steps 6"
    train(call, "runs/roomy", options)
    save, write, count = checkpoint.save_file, record.write_text, 0

    def full(*arguments: object) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise OSError(28, "No space left on device")
        (save if where == "checkpoint" else write)(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(*((checkpoint, "save_file") if where == "checkpoint" else (record, "write_text")), full)
        out = f"runs/full-{where}"
        status, _, err = call(f"train {options} --out {out}")
    assert status == 2 and "No space left" in err and "detente resume" in err and err.count("\n") == 1
    if where == "lines":  # so early that there is no record yet to continue
        return
    assert call(f"resume {out}")[0] == 0
    assert_same_bits(saved(Path(out)), saved(Path("runs/roomy")))
    assert lines(Path(out)) == lines(Path("runs/roomy"))


def test_on_a_disk_that_really_is_full(call: Call, place: Path) -> None:
    disk = place / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        options = f"{RING} --seeds 0 1 --method simultaneous --checkpoint_every 2 --record_every 1 --measure_every 1"
        status, _, err = call(f"train {options} --steps 30 --out disk/run")
        assert status == 2 and err.count("\n") == 1 and "resume" in err, err
        checkpoints = checkpoint.files(disk / "run" / "checkpoints")
        assert checkpoints, "some were saved before the disk was full"
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        assert call("resume disk/run")[0] == 0
        assert [line["step"] for line in lines(disk / "run") if line["seed"] == 1] == list(range(31))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_control_c_saves_and_says_how_to_resume(place: Path) -> None:
    options = "--game bilinear --method optimistic --seeds 0 1 --record_every 5 --checkpoint_every 1000 --compile off"
    words = [sys.executable, "-u", "-m", "detente", "train", *options.split(), "--out", "runs/cut", "--steps", "100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    with process:
        path = place / "runs" / "cut" / "metrics.jsonl"
        while process.poll() is None and not (path.exists() and path.read_text("utf-8").count("\n") > 8):
            time.sleep(0.02)  # waits for the child's lines, for as long as they take
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "detente resume runs/cut" in out and "Traceback" not in err
    seeds = json.loads((place / "runs/cut/status.json").read_text("utf-8"))["seeds"]
    assert {entry["status"] for entry in seeds.values()} == {"interrupted"}
    step = seeds["0"]["step"]
    assert step > 0 and step % 5 == 0
    (saved_step,) = {int(tensor) for key, tensor in saved(place / "runs/cut").items() if key.endswith("state/t")}
    assert saved_step == step
    environment["PYTHONWARNINGS"] = "error"
    further = str(step + 10)
    words = [sys.executable, "-m", "detente", "resume", "runs/cut", "--steps", further]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    words = [sys.executable, "-m", "detente", "train", *options.split(), "--out", "runs/uncut", "--steps", further]
    words += ["--measure_every", "5000"]
    assert subprocess.run(words, cwd=place, capture_output=True, env=environment).returncode == 0
    assert_same_bits(saved(place / "runs/cut"), saved(place / "runs/uncut"))


def test_interrupted_anywhere_else_it_says_so_and_no_more(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("detente.cli.commands.show.configuration.build", interrupt)
    status, _, err = call("show --game bilinear --method simultaneous")
    assert status == 130 and err == "detente: interrupted\n"


def test_no_terminal_no_bars(call: Call) -> None:
    assert not display.console.is_terminal
    status, out, _ = call("train --game bilinear --method simultaneous --steps 3 --overwrite --out runs/quiet")
    assert status == 0 and "\x1b" not in out and "step 3 of 3" in out


def test_the_threads_outside_are_left_alone(call: Call) -> None:
    threads = torch.get_num_threads()
    call("train --game bilinear --method simultaneous --steps 2 --threads 1 --overwrite --out runs/threads")
    assert torch.get_num_threads() == threads
