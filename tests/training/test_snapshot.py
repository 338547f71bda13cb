"""Pictures of the same latents at every measurement, and interpolations; neither changes the training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from detente.data.arrays import Arrays
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.state import State
from detente.training import loop
from detente.training.loop import train
from detente.training.run import Run
from detente.training.run_directory.record import Record
from detente.training.run_directory.snapshot import COLUMNS, ROWS, image_grid, interpolate, write_snapshot
from tests.training.small_runs import assert_same_bits, last, record, ring
from tests.training.test_loop import PLAIN

LATENT = 2


def photos(channels: int = 3) -> Arrays:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (10, channels, 4, 4), dtype=torch.uint8, generator=generator)
    return Arrays(images, torch.arange(10) % 3)


def painter() -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))


def judge() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 1))


def images(**changes: Any) -> Run:
    game = Adversarial(painter, judge, photos(), latent=LATENT, batch=4)
    return Run(
        **{"game": game, "method": PLAIN, "steps": 4, "compile": "off", "samples": 4, "measure_every": 2, **changes}
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "images"
    record(images(seeds=(0, 3)), path)
    return path


def test_samples_and_interpolations_are_written_at_every_measurement(directory: Path) -> None:
    names = [f"seed{seed}-step{step:08d}.png" for seed in (0, 3) for step in (0, 2, 4)]
    for folder, rows, columns in (("samples", 8, 8), ("interpolations", ROWS, COLUMNS)):
        assert sorted(path.name for path in (directory / folder).iterdir()) == names
        with Image.open(directory / folder / names[1]) as picture:
            assert picture.size == (columns * 6 - 2, rows * 6 - 2) and picture.mode == "RGB"


def test_tensorboard_shows_the_same_pictures(directory: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory / "events"), size_guidance={"images": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == {f"{n}/seed{seed}" for n in ("samples", "interpolations") for seed in (0, 3)}
    shown = events.Images("interpolations/seed3")
    assert [event.step for event in shown] == [0, 2, 4]
    (directory / "shown.png").write_bytes(shown[-1].encoded_image_string)
    path = directory / "interpolations" / "seed3-step00000004.png"
    with Image.open(directory / "shown.png") as actual, Image.open(path) as expected:
        np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


def test_every_picture_uses_the_same_latents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = images()
    latents_by_count: dict[int, list[Tensor]] = {64: [], ROWS * COLUMNS: []}

    def spied(game: Adversarial, state: State, latents: Tensor, *labels: Tensor) -> Tensor:
        latents_by_count[len(latents)].append(latents.clone())
        return generate(game, state, latents, *labels)

    ticks, generate = list(train(run)), Adversarial.generate
    monkeypatch.setattr(Adversarial, "generate", spied)
    for tick in ticks:
        write_snapshot(run.game, tick.progress[0].state, tmp_path, 0, tick.step)
    for latents in latents_by_count.values():
        assert len(latents) == len(ticks) == 5
        assert all(torch.equal(other, latents[0]) for other in latents)
    assert not torch.equal(latents_by_count[64][0][:10], latents_by_count[ROWS * COLUMNS][0][:10])


@pytest.mark.filterwarnings("ignore:(vanishing gradient|wiring)")  # as the set-up deserves
def test_a_conditional_game_shows_one_label_per_row(tmp_path: Path) -> None:
    class Painter(nn.Module):
        """Paints the label alone, so that a row shows which it was."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.5))

        def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
            level = self.scale * (labels - 1).reshape(-1, 1, 1, 1) + 0 * latents.sum()
            return level.expand(-1, 3, 4, 4)

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Linear(48, 1)

        def forward(self, x: Tensor, labels: Tensor) -> Tensor:
            return self.score(x.flatten(1)) + labels.unsqueeze(1)

    game = Conditional(Painter(), Judge(), photos(), latent=LATENT, batch=4)
    state = PLAIN.initial(game, torch.Generator())
    with Image.open(write_snapshot(game, state, tmp_path, 0, 0)["interpolations"]) as picture:
        rows = np.asarray(picture)[1::6, :, 0][:, ::6]  # one pixel an image
    assert rows.shape == (ROWS, COLUMNS) and (rows == rows[:, :1]).all()
    assert rows[:, 0].tolist() == [round((0.5 * (k % 3 - 1) + 1) * 127.5) for k in range(ROWS)]


def test_interpolation_between_latents_keeps_their_norm() -> None:
    generator = torch.Generator().manual_seed(1)
    start, end = torch.randn(2, 5, 64, generator=generator)
    way = interpolate(start, end, 7)
    assert way.shape == (5, 7, 64)
    torch.testing.assert_close(way[:, 0], start)
    torch.testing.assert_close(way[:, -1], end)
    unit = interpolate(start / start.norm(dim=1, keepdim=True), end / end.norm(dim=1, keepdim=True), 7)
    torch.testing.assert_close(unit.norm(dim=2), torch.ones(5, 7))
    # Equal steps of the angle: each latent's scalar product with the next is the same.
    products = (unit[:, 1:] * unit[:, :-1]).sum(2)
    torch.testing.assert_close(products, products[:, :1].expand_as(products))
    straight = interpolate(start, 2 * start, 3)
    torch.testing.assert_close(straight[:, 1], 1.5 * start)


def test_a_grid_has_the_requested_columns() -> None:
    assert image_grid(torch.zeros(6, 1, 4, 4), 3).size == (16, 10)
    assert image_grid(torch.zeros(6, 1, 4, 4)).size == (16, 10)
    assert image_grid(torch.zeros(8, 1, 4, 4), 2).size == (10, 22)


def test_interpolations_after_the_checkpoint_are_written_again(tmp_path: Path) -> None:
    run, path = images(checkpoint_every=2), tmp_path / "cut"

    def ticks() -> Iterator[loop.Tick]:
        for tick in train(run):
            if tick.step == 4:
                raise KeyboardInterrupt
            yield tick

    with pytest.raises(KeyboardInterrupt), Record(run, path, {}) as written:
        for _ in written.follow(ticks()):
            pass
    late = path / "interpolations" / "seed0-step00000004.png"
    late.write_bytes(b"half")
    record(replace(run, steps=3), path, resume=True)
    assert not late.exists()


# ---- What measurements draw ----------------------------------------------------------------------------------------


def test_measurements_use_the_same_latents_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """They differ between seeds, and from those that training draws."""
    drawn: list[Tensor] = []

    class Probe(Metric):
        def __call__(self, subject: EvaluationContext) -> float:
            drawn.append(torch.randn(50, generator=subject.generator))
            return 0.0

    monkeypatch.setattr(loop, "applicable", lambda game: {"probe": Probe()})
    run = Run(ring(), PLAIN, steps=4, seeds=(0, 1), measure_every=2, compile="off", samples=4)
    looked_at = last(run)
    assert len(drawn) == 6
    for index, latents in enumerate(drawn):
        assert torch.equal(latents, drawn[index % 2])
    assert not torch.equal(drawn[0], drawn[1])
    for seed in run.seeds:
        generator = torch.Generator().manual_seed(seed)
        assert not any(
            torch.equal(torch.randn(50, generator=generator), latents) for latents in drawn for _ in range(3)
        )
    monkeypatch.setattr(loop, "applicable", lambda game: {})
    assert_same_bits(looked_at, last(run))


# ---- What a step costs ---------------------------------------------------------------------------------------------


def test_every_line_holds_the_time_of_a_step_and_the_memory(directory: Path) -> None:
    entries = [json.loads(line) for line in (directory / "metrics.jsonl").read_text("utf-8").splitlines()]
    of_seed = [line for line in entries if line["seed"] == 3]
    assert [line["step"] for line in of_seed] == [0, 1, 2, 3, 4] and "seconds_per_step" not in of_seed[0]
    for before, after in zip(of_seed, of_seed[1:], strict=False):
        assert after["seconds_per_step"] == pytest.approx(after["seconds"] - before["seconds"], abs=1.1e-4)
        assert after["memory_mib"] >= before["memory_mib"]
    assert 50 < of_seed[0]["memory_mib"] < 100_000, "importing torch takes more than fifty, in MiB"


def test_the_first_line_after_resuming_holds_the_time_since_the_checkpoint(tmp_path: Path) -> None:
    run = images(steps=2)
    record(run, tmp_path / "run")
    record(replace(run, steps=4), tmp_path / "run", resume=True)
    text = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    by_step = {line["step"]: line for line in map(json.loads, text)}
    passed = by_step[3]["seconds"] - by_step[2]["seconds"]
    assert by_step[3]["seconds_per_step"] == pytest.approx(passed, abs=1.1e-4) and passed > 0
