"""The run directory: what is written and when, and that nothing is lost or overwritten without permission."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from detente import methods
from detente.data.arrays import Arrays
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.report.run_directory import read_run
from detente.training.loop import Tick, train
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.record import Record, train_into
from tests.training.small_runs import assert_same_bits, last, lines, record, ring, saved
from tests.training.test_loop import PLAIN, Fragile, by_hand

SMALL = Run(
    ring(),
    methods.alternating(),
    6,
    (0, 4),
    record_every=2,
    measure_every=3,
    checkpoint_every=4,
    samples=8,
    compile="off",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    record(SMALL, path)
    return path


def status(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "status.json").read_text(encoding="utf-8"))


def test_every_file_is_written(directory: Path) -> None:
    names = {path.name for path in directory.iterdir()}
    assert names == {"run.yaml", "status.json", "metrics.json", "metrics.jsonl", "checkpoints", "samples", "events"}
    assert {"versions", "machine", "command"} <= yaml.safe_load((directory / "run.yaml").read_text("utf-8")).keys()
    assert list((directory / "events").glob("events.out.tfevents.*"))


def test_one_line_is_written_per_seed_and_tick(directory: Path) -> None:
    recorded = lines(directory)
    assert [(line["step"], line["seed"]) for line in recorded] == [
        (s, seed) for s in (0, 2, 3, 4, 6) for seed in (0, 4)
    ]
    assert [line["step"] for line in recorded if "metrics" in line] == [0, 0, 3, 3, 6, 6]
    cost = SMALL.method.gradient_evaluations(SMALL.game)
    for line in recorded:
        assert line["gradient_evaluations"] == cost * line["step"]
        if line["step"]:
            assert line["losses"].keys() == line["gradient_norm"].keys() == {"generator", "discriminator"}
    described = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
    assert described.keys() == recorded[0]["metrics"].keys() != set()
    assert all(metric.keys() == {"title", "unit", "better", "metric", "stamp"} for metric in described.values())
    assert described["modes_covered"]["stamp"] == {"samples": SMALL.samples}


def test_status_json_holds_the_outcome_of_each_seed(directory: Path) -> None:
    content = status(directory)
    assert content["device"] == "cpu" and "2 seeds" in content["execution"]
    for seed in ("0", "4"):
        seed_status = content["seeds"][seed]
        assert (seed_status["status"], seed_status["step"], seed_status["diverged_at"]) == ("finished", 6, None)
        assert seed_status["seconds"] > 0
    # Unrounded: a run that ended by its seconds shows in its lines when it had, and had not, used them up.
    saved_seconds = {
        seed_status.seed: seed_status.seconds for seed_status in checkpoint.load(directory / "checkpoints", SMALL)
    }
    read = map(json.loads, (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    written = {line["seed"]: line["seconds"] for line in read}
    assert (
        saved_seconds
        == written
        == {int(seed): seed_status["seconds"] for seed, seed_status in content["seeds"].items()}
    )


def test_sample_files_hold_generated_and_real_samples(directory: Path) -> None:
    names = sorted(path.name for path in (directory / "samples").iterdir())
    assert names == [f"seed{seed}-step{step:08d}.npz" for seed in (0, 4) for step in (0, 3, 6)]
    with np.load(directory / "samples" / names[2]) as shown:
        assert shown["fake"].shape == (512, 2) and shown["real"].shape[1] == 2 and shown["levels"].shape == (48, 48)
        xmin, xmax, ymin, ymax = shown["extent"]
        game = SMALL.game
        assert isinstance(game, Adversarial)
        state = checkpoint.load(directory / "checkpoints", SMALL)[0].state
        corner = torch.tensor([[xmax, ymin], [xmin, ymax]])
        expected = game.scores(state, corner).flatten()
        np.testing.assert_allclose(shown["levels"][[0, -1], [-1, 0]], expected.numpy(), rtol=1e-4)


def test_tensorboard_events_hold_the_same_numbers(directory: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory / "events"))
    events.Reload()
    actual = [(event.step, event.value) for event in events.Scalars("losses/generator/seed4")]
    expected = [(line["step"], line["losses"]["generator"]) for line in lines(directory) if "losses" in line]
    expected = [
        pair
        for pair, line in zip(expected, [x for x in lines(directory) if "losses" in x], strict=True)
        if line["seed"] == 4
    ]
    assert [step for step, _ in actual] == [step for step, _ in expected]
    np.testing.assert_allclose([value for _, value in actual], [value for _, value in expected], rtol=1e-6)


def test_the_report_reads_what_is_written(directory: Path) -> None:
    run = read_run(directory, "small")
    assert run.notes == () and set(run.seeds) == {0, 4} and run.diverged == ()


def test_recording_changes_no_state(directory: Path) -> None:
    plain = last(replace(SMALL, record_every=6, measure_every=6))
    saved_state = {key.replace("/state/", "/"): tensor for key, tensor in saved(directory).items()}
    assert_same_bits(saved_state, plain)


def test_images_are_shown_as_one_grid(tmp_path: Path) -> None:
    def generator() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3 * 4 * 4), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))

    def discriminator() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 1))

    photos = Arrays(torch.randint(256, (10, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    run = Run(Adversarial(generator, discriminator, photos, latent=2, batch=4), PLAIN, 2, compile="off", samples=4)
    record(run, tmp_path / "images")
    with Image.open(tmp_path / "images" / "samples" / "seed0-step00000002.png") as picture:
        assert picture.size == (8 * 6 - 2, 8 * 6 - 2) and picture.mode == "RGB"


def test_a_diverged_seed_is_recorded_as_null_not_nan(tmp_path: Path) -> None:
    run = Run(Fragile(0.6), PLAIN, 30, (0, 1, 2), record_every=10, checkpoint_every=10, compile="off", samples=1)
    record(run, tmp_path / "fragile")
    expected = {str(seed): by_hand(run, seed) for seed in run.seeds}
    seeds = status(tmp_path / "fragile")["seeds"]
    assert {seed: seed_status["diverged_at"] for seed, seed_status in seeds.items()} == expected
    assert [seeds[seed]["status"] for seed in ("0", "1", "2")] == ["finished", "diverged", "diverged"]
    numbers = [line["losses"]["x"] for line in lines(tmp_path / "fragile") if line["seed"] == 1 and "losses" in line]
    assert numbers and numbers[-1] is None, "the tick in which it was lost has no mean"
    assert read_run(tmp_path / "fragile", "fragile").diverged == (1, 2)
    record(replace(run, steps=40), tmp_path / "fragile", resume=True)
    seeds = status(tmp_path / "fragile")["seeds"]
    assert {seed: seed_status["diverged_at"] for seed, seed_status in seeds.items()} == expected
    assert seeds["0"]["step"] == 40


def test_a_run_ends_when_all_seeds_have_diverged(tmp_path: Path) -> None:
    run = Run(Fragile(-1.0), PLAIN, 1000, (0, 1), compile="off", samples=1)
    record(run, tmp_path / "lost")
    assert {seed_status["status"] for seed_status in status(tmp_path / "lost")["seeds"].values()} == {"diverged"}
    record(run, tmp_path / "lost", resume=True)
    assert {seed_status["status"] for seed_status in status(tmp_path / "lost")["seeds"].values()} == {"diverged"}


def interrupted(run: Run, directory: Path, at: int, error: BaseException) -> None:
    def ticks() -> Iterator[Tick]:
        for tick in train(run):
            if tick.step == at:
                raise error
            yield tick

    with pytest.raises(type(error)), Record(run, directory, {}) as written:
        for _ in written.follow(ticks()):
            pass


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), RuntimeError("any")])
def test_an_interrupted_run_is_saved_and_can_be_resumed(directory: Path, tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "cut"
    interrupted(SMALL, path, 4, error)
    seeds = status(path)["seeds"]
    assert {(seed_status["status"], seed_status["step"]) for seed_status in seeds.values()} == {("interrupted", 3)}
    assert checkpoint.load(path / "checkpoints", SMALL)[0].step == 3
    record(SMALL, path, resume=True)
    assert {seed_status["status"] for seed_status in status(path)["seeds"].values()} == {"finished"}
    assert lines(path) == lines(directory)
    assert_same_bits(saved(path), saved(directory))


def test_a_run_killed_before_its_first_checkpoint_starts_again(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "early"
    path.mkdir()
    (path / "metrics.jsonl").write_text('{"seed": 0, "step": 0}\n{"seed": 4, "st', encoding="utf-8")
    record(SMALL, path, resume=True)
    assert lines(path) == lines(directory)


def test_a_run_killed_before_its_first_step_has_no_duplicate_lines(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "begun"
    interrupted(SMALL, path, 2, KeyboardInterrupt())
    assert [progress.step for progress in checkpoint.load(path / "checkpoints", SMALL)] == [0, 0]
    record(SMALL, path, resume=True)
    assert lines(path) == lines(directory)


def test_resuming_finishes_a_run_killed_before_its_final_status(tmp_path: Path) -> None:
    path = tmp_path / "late"
    run = replace(SMALL, seeds=(0,))
    record(run, path)
    content = status(path)
    content["seeds"]["0"]["status"] = "running"
    (path / "status.json").write_text(json.dumps(content), encoding="utf-8")
    record(run, path, resume=True)
    assert status(path)["seeds"]["0"]["status"] == "finished"
    assert status(path)["execution"] == content["execution"]


def test_records_after_the_last_checkpoint_are_written_again(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    interrupted(SMALL, path, 6, KeyboardInterrupt())
    with (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"seed": 0, "step": 6, "losses": {"generator": 99}}\n{"seed": 4, "step": 6, "lo')
    (path / "samples" / "seed0-step00000006.npz").write_bytes(b"half")
    record(SMALL, path, resume=True)
    assert lines(path) == lines(directory)
    with np.load(path / "samples" / "seed0-step00000006.npz") as shown:
        assert "fake" in shown


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_an_existing_run_is_not_overwritten_without_request(tmp_path: Path) -> None:
    path, run = tmp_path / "one", Run(Bilinear(), PLAIN, 2, compile="off")
    record(run, path)
    before = files(path)
    with pytest.raises(InvalidValue, match="--overwrite"):
        Record(run, path, {})
    assert files(path) == before
    with Record(run, path, {"game": "anew"}, overwrite=True) as written:
        for _ in written.follow(train(run)):
            pass
    assert "anew" in (path / "run.yaml").read_text(encoding="utf-8") and len(lines(path)) == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_not_a_run_is_never_deleted(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(InvalidValue):
        Record(SMALL, tmp_path, {}, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_an_empty_folder_and_one_of_a_killed_run_are_accepted(tmp_path: Path) -> None:
    run = Run(Bilinear(), PLAIN, 1, compile="off")
    for leftovers in ((), ("run.yaml.tmp",)):
        path = tmp_path / f"left{len(leftovers)}"
        path.mkdir()
        for name in leftovers:
            (path / name).write_text("game: bi", encoding="utf-8")
        record(run, path)
        assert status(path)["seeds"]["0"]["status"] == "finished"


def test_a_refused_resume_changes_no_file(tmp_path: Path) -> None:
    path, run = tmp_path / "one", Run(Bilinear(), PLAIN, 4, compile="off")
    record(run, path)
    before = files(path)
    for other, field in ((replace(run, seeds=(7,)), "checkpoint"), (replace(run, steps=3), "steps")):
        with pytest.raises(InvalidValue) as refused:
            Record(other, path, {}, resume=True)
        assert refused.value.field == field
        assert files(path) == before


def test_an_unwritable_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file" / "run", Path("/proc/run"), tmp_path / "file"):
        with pytest.raises(InvalidValue) as refused:
            Record(SMALL, path, {})
        assert refused.value.field == "out"


class Branching(nn.Module):
    """A layer that decides by its data, which tracing cannot follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else 2 * x


def test_the_reason_for_eager_steps_is_reported(tmp_path: Path) -> None:
    choices: tuple[tuple[Any, bool], ...] = (("on", True), ("off", False))
    game = Adversarial(
        nn.Sequential(nn.Linear(2, 2), Branching()), nn.Sequential(nn.Linear(2, 1)), Ring(), latent=2, batch=4
    )
    for compile, expected in choices:
        run = Run(game, methods.alternating(), steps=2, compile=compile, samples=4)
        *_, last = train_into(run, tmp_path / compile, {})
        reason = json.loads((tmp_path / compile / "status.json").read_text("utf-8"))["fallback_reason"]
        assert reason == last.fallback_reason and bool(reason) == expected
        assert (f"not compiled or mapped: {reason}" in last.execution) == expected
