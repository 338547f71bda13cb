"""Checkpoints: everything is restored, the last complete one is loaded, and other files are refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from detente import methods
from detente.errors import InvalidValue
from detente.games.presets import points
from detente.games.quadratic import Bilinear
from detente.ranks import Ranks
from detente.training.loop import Progress, train
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.same_start import divided_names, progress_of_rank
from tests.training.small_runs import assert_same_bits, carried, lines, record, ring, runs

RUN = Run(ring(), methods.alternating(), steps=4, seeds=(0, 5), compile="off", samples=4)


def trained(run: Run = RUN, step: int = 4) -> tuple[Progress, ...]:
    return next(tick.progress for tick in train(replace(run, record_every=1)) if tick.step == step)


def test_a_checkpoint_restores_everything(tmp_path: Path) -> None:
    progress = trained()
    progress = (replace(progress[0], seconds=1.25, diverged_at=3), progress[1])
    checkpoint.save(tmp_path, progress)
    loaded = checkpoint.load(tmp_path, RUN)
    assert_same_bits(carried(loaded), carried(progress))
    assert [(seed.seed, seed.seconds, seed.diverged_at) for seed in loaded] == [
        (0, 1.25, 3),
        (5, progress[1].seconds, None),
    ]


def test_tensors_that_share_memory_are_saved_separately(tmp_path: Path) -> None:
    """Extragradient's first memory, say, may be the same zeros twice."""
    run = runs(4)["scheme-past_extragradient-bilinear-1"]
    (progress,) = trained(run, 0)
    shared = progress.state.vectors["x"]
    state = replace(progress.state, vectors={"x": shared, "y": shared})
    checkpoint.save(tmp_path, [replace(progress, state=state)])
    (loaded,) = checkpoint.load(tmp_path, run)
    assert torch.equal(loaded.state.vectors["x"], shared) and torch.equal(loaded.state.vectors["y"], shared)


def test_two_checkpoints_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    for tick in train(replace(RUN, record_every=1)):
        checkpoint.save(tmp_path, tick.progress)
    assert [path.name for path in checkpoint.files(tmp_path)] == [
        "step000000003.safetensors",
        "step000000004.safetensors",
    ]
    assert checkpoint.load(tmp_path, RUN)[0].step == 4
    assert not list(tmp_path.glob("*.tmp"))


DIVIDED = replace(RUN, game=points.ring(batch=8, width=16, depth=1), method=methods.averaged())


def save_divided(folder: Path, progress: tuple[Progress, ...], mark: str, count: int = 3) -> None:
    """Save a checkpoint as so many ranks would."""
    ranks = [Ranks(rank, count, shard=True) for rank in range(count)]
    division = checkpoint.Division(count, divided_names(DIVIDED, ranks[0]), mark)
    for rank in reversed(ranks):
        part = progress_of_rank(DIVIDED, progress, rank)
        if rank.rank:
            checkpoint.save_part(folder, part, rank.rank, division)
        else:
            checkpoint.save(folder, part, None, division)


def test_parts_of_ranks_are_joined(tmp_path: Path) -> None:
    progress = trained(DIVIDED)
    save_divided(tmp_path, progress, "one")
    assert_same_bits(carried(checkpoint.load(tmp_path, DIVIDED)), carried(progress))
    first = load_file(checkpoint.files(tmp_path)[0])
    assert len(first["0/state/vectors/generator"]) == 306
    for name in ("optimizers/generator/square", "scheme/vectors/generator"):
        assert len(first[f"0/state/memory/{name}"]) == 128  # the others have 128 and 50


@pytest.mark.parametrize("damage", ["missing", "cut", "of another checkpoint"])
def test_an_incomplete_checkpoint_is_skipped(tmp_path: Path, damage: str) -> None:
    for step in (2, 3):
        save_divided(tmp_path, trained(DIVIDED, step), f"mark{step}")
    part = tmp_path / "step000000003.rank2of3"
    if damage == "missing":
        part.unlink()
    elif damage == "cut":
        part.write_bytes(part.read_bytes()[:-5])
    else:
        part.write_bytes((tmp_path / "step000000002.rank2of3").read_bytes())
    assert checkpoint.load(tmp_path, DIVIDED)[0].step == 2


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint_is_skipped(tmp_path: Path, keep: float) -> None:
    for step in (2, 3):
        checkpoint.save(tmp_path, trained(step=step))
    newest = checkpoint.files(tmp_path)[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: int(len(content) * keep)])
    assert checkpoint.load(tmp_path, RUN)[0].step == 2


@pytest.mark.parametrize("seeds", ["", "{", "[]", "null", '{"0": {}, "5": {}}'])
def test_a_checkpoint_with_damaged_metadata_is_skipped_or_refused(tmp_path: Path, seeds: str) -> None:
    checkpoint.save(tmp_path, trained(step=2))
    metadata = {"format": checkpoint.FORMAT, "seeds": seeds}
    save_file({"x": torch.zeros(1)}, tmp_path / "step000000009.safetensors", metadata)
    if seeds.startswith("{") and seeds.endswith("}"):  # readable, and so a stranger's
        with pytest.raises(InvalidValue, match="one of the same game"):
            checkpoint.load(tmp_path, RUN)
        return
    if seeds == "[]":
        with pytest.raises(InvalidValue, match="one of seeds"):
            checkpoint.load(tmp_path, RUN)
        return
    assert checkpoint.load(tmp_path, RUN)[0].step == 2


def test_the_error_without_a_complete_checkpoint_gives_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="a folder with a complete checkpoint"):
        checkpoint.load(tmp_path, RUN)
    (tmp_path / "step000000001.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidValue, match="step000000001"):
        checkpoint.load(tmp_path, RUN)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(RUN, seeds=(0, 1)), "seeds"),
        (replace(RUN, method=methods.simultaneous()), "differs"),
        (replace(RUN, game=ring(batch_norm=False)), "differs"),
        (Run(Bilinear(), methods.simultaneous(), seeds=(0, 5)), "differs"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, other: Run, words: str) -> None:
    checkpoint.save(tmp_path, trained())
    with pytest.raises(InvalidValue, match=words) as refused:
        checkpoint.load(tmp_path, other)
    assert refused.value.field == "checkpoint"


def test_a_checkpoint_of_another_precision_is_refused(tmp_path: Path) -> None:
    progress = trained(step=0)
    vectors = {name: vector.double() for name, vector in progress[0].state.vectors.items()}
    checkpoint.save(tmp_path, [replace(progress[0], state=replace(progress[0].state, vectors=vectors)), progress[1]])
    with pytest.raises(InvalidValue, match="one of the same game"):
        checkpoint.load(tmp_path, RUN)


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "step000000003.safetensors", {"format": "pt"})
    with pytest.raises(InvalidValue, match=checkpoint.FORMAT):
        checkpoint.load(tmp_path, RUN)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_does_not_damage_earlier_checkpoints(small_disk: Path) -> None:
    checkpoint.save(small_disk, trained(step=2))
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "others").write_bytes(bytes(max(free - 4096, 0)))
    with pytest.raises(OSError, match="(?i)no space"):
        checkpoint.save(small_disk, trained(step=3))
    assert [path.name for path in checkpoint.files(small_disk)] == ["step000000002.safetensors"]
    assert not list(small_disk.glob("*.tmp"))
    assert_same_bits(carried(checkpoint.load(small_disk, RUN)), carried(trained(step=2)))


@pytest.mark.parametrize("at", ["save_file", "_sync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_does_not_damage_earlier_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, error: BaseException
) -> None:
    checkpoint.save(tmp_path, trained(step=2))

    def fail(*arguments: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, at, fail)
        with pytest.raises(type(error)):
            checkpoint.save(tmp_path, trained(step=3))
    assert not list(tmp_path.glob("*.tmp"))
    assert checkpoint.load(tmp_path, RUN)[0].step == 2


def test_a_run_resumed_after_a_truncated_checkpoint_ends_the_same(tmp_path: Path) -> None:
    run = replace(RUN, steps=6, record_every=1, checkpoint_every=2)
    record(replace(run, steps=4), tmp_path / "one")
    record(run, tmp_path / "whole")
    newest = checkpoint.files(tmp_path / "one" / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    record(run, tmp_path / "one", resume=True)
    cut, whole = (checkpoint.load(tmp_path / name / "checkpoints", run) for name in ("one", "whole"))
    assert_same_bits(carried(cut), carried(whole))
    steps = [[line["step"] for line in lines(tmp_path / name)] for name in ("one", "whole")]
    assert steps[0] == steps[1]
