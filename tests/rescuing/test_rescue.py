"""A rescue as its user runs it: it names and cures failures, does not change healthy games, and can be killed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import detente
from detente import Adversarial, Method, methods
from detente.checks.base import Finding
from detente.errors import InvalidValue
from detente.games.quadratic import Quadratic
from detente.rescuing.conclusions import merged
from detente.rescuing.rescue import Rescue, _finish, _second_chances, rescuing

GENERATOR = torch.Generator().manual_seed(0)
FAR = 400 + 1.25 * torch.randn(2000, 1, generator=GENERATOR)
NEAR = torch.randn(2000, 2, generator=GENERATOR)
METHOD = methods.alternating(learning_rate=1e-3)
STEPS = 300


def mlp(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 32), nn.LeakyReLU(0.2), nn.Linear(32, outputs))


def gan(data: Tensor) -> Adversarial:
    with detente.checks.off():
        return Adversarial(lambda: mlp(2, data.shape[1]), lambda: mlp(data.shape[1], 1), data, latent=2, batch=64)


def rescue(data: Tensor, out: Path, method: Method = METHOD) -> detente.rescuing.rescue.Rescue:
    return detente.rescue(gan(data), method, steps=STEPS, out=out)


def test_data_far_from_zero_are_named_and_cured(tmp_path: Path) -> None:
    result = rescue(FAR, tmp_path)
    assert result.findings[0].failure == "data scale"
    assert result.best is not None
    assert "rescale" in result.best.change.game
    generator, discriminator = result.best.modules()
    with torch.no_grad():
        samples = generator(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)))
    assert float(samples.mean()) == pytest.approx(400, abs=1.25), "the user's generator returns data units"
    assert discriminator(samples).shape == (1000, 1)
    assert result.cost <= 3.0 + 1e-6
    text = str(result)
    assert [line.split(" ")[0] for line in text.splitlines() if line[:1].isalpha()][:2] == ["Found", "Tried"]
    assert "changed(" in result.best.python
    assert result.judgement is not None
    assert f"On fresh samples: precision {result.judgement.near:.2f}" in text
    assert result.cured == (not result.judgement.faults) == ("Cured by" in text)
    assert f"{result.judgement.quality.cells:.0%} of the data's regions" in text.partition("\nCured")[2]
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_killed_rescue_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = rescue(FAR, tmp_path / "whole")
    for stop in (3, 40, 60):  # ticks after which it is killed
        events = rescuing(gan(FAR), METHOD, steps=STEPS, out=tmp_path / "killed")
        for _ in zip(range(stop), events, strict=False):
            pass
        del events
    timings = json.loads((tmp_path / "whole" / "timings.json").read_text(encoding="utf-8"))
    (tmp_path / "killed" / "timings.json").write_text(json.dumps(timings), encoding="utf-8")
    again = rescue(FAR, tmp_path / "killed")
    assert [finding.failure for finding in again.findings] == [finding.failure for finding in whole.findings]
    assert whole.best is not None
    assert again.best is not None
    assert again.best.name == whole.best.name
    assert torch.equal(again.best.sample(10), whole.best.sample(10))


def test_a_healthy_set_up_is_left_in_peace(tmp_path: Path) -> None:
    result = rescue(NEAR, tmp_path)
    assert result.healthy, result.findings
    assert result.trials == []
    assert result.verdict == "healthy"
    assert "nothing wrong" in str(result) and "nothing needs a cure" in str(result)


def test_players_of_other_names_and_losses_of_their_own(tmp_path: Path) -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        fake = net.maker(torch.randn(len(batch["real"]), 2))
        judged = softplus(-net.judge(batch["real"])).mean() + softplus(net.judge(fake)).mean()
        return {"judge": judged, "maker": softplus(-net.judge(fake)).mean()}

    game = detente.Networks({"judge": lambda: mlp(1, 1), "maker": lambda: mlp(2, 1)}, losses, FAR, batch=64)
    result = detente.rescue(game, METHOD, steps=60, out=tmp_path)
    assert result.findings[0].failure == "data scale"
    assert result.best is not None
    assert set(result.best.modules()) == {"judge", "maker"}
    assert float(result.best.sample(500).mean()) == pytest.approx(400, abs=5)


def test_a_network_that_raises_is_a_finding(tmp_path: Path) -> None:
    def build() -> Adversarial:
        return Adversarial(lambda: mlp(3, 2), lambda: mlp(2, 1), NEAR, latent=2)

    result = detente.rescue(build, METHOD, out=tmp_path)
    assert result.findings[0].failure == "wiring"
    assert "generator" in result.findings[0].evidence
    assert "mat1 and mat2" in result.findings[0].evidence
    assert result.best is None


@pytest.mark.parametrize(("field", "value"), [("budget", "lots"), ("budget", 0.5), ("budget", "nanx"), ("steps", 0)])
def test_bad_input(field: str, value: object) -> None:
    with pytest.raises(InvalidValue, match=field):
        detente.rescue(gan(NEAR), METHOD, **{field: value})  # pyright: ignore[reportArgumentType]


def test_other_games_are_refused() -> None:
    with pytest.raises(InvalidValue, match="a GAN"):
        detente.rescue(Quadratic(), METHOD)


def test_a_suspicion_is_dropped_if_the_samples_are_good(tmp_path: Path) -> None:
    ones = torch.ones(len(NEAR), 1)
    data = torch.cat([NEAR, ones], 1)  # a constant column may harm, but does not here
    assert [finding.failure for finding in detente.checks.base.inspect(gan(data), METHOD)] == ["data scale"]
    result = detente.rescue(gan(data), METHOD, steps=4 * STEPS, out=tmp_path)
    assert result.healthy, result.findings
    assert not result.findings
    assert "This GAN is healthy." in str(result)


def test_data_that_are_one_point(tmp_path: Path) -> None:
    class Point(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.ones(1))

        def forward(self, latents: Tensor) -> Tensor:
            return self.place.expand(len(latents), 1) + 0 * latents

    game = Adversarial(Point, lambda: nn.Linear(1, 1, bias=False), torch.zeros(512, 1), latent=1, batch=16)
    result = detente.rescue(game, methods.simultaneous("sgd", learning_rate=0.1), steps=1000, out=tmp_path)
    assert result.findings[0].failure == "oscillation or limit cycle"
    assert all(math.isfinite(trial.score) for trial in result.trials if trial.steps), "also such data have a distance"


def test_a_cause_is_among_the_first_two_findings() -> None:
    symptoms = [
        Finding(name, "Seen.", sure, "Change it.") for name, sure in (("collapse", 0.9), ("vanishing gradient", 0.85))
    ]
    cause = Finding("penalty or Lipschitz bound wrong", "Too strong.", 0.7, "Change it.")
    assert [f.failure for f in merged([], [*symptoms, cause])][:2] == ["collapse", cause.failure]
    doubtful = Finding(cause.failure, cause.evidence, 0.5, cause.remedy)
    assert [f.failure for f in merged([], [*symptoms, doubtful])][:2] == ["collapse", "vanishing gradient"]


def test_what_only_the_user_can_mend_is_said_and_not_raced(tmp_path: Path) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, z: Tensor) -> Tensor:
            with torch.no_grad():
                hidden = self.first(z)
            return self.last(hidden.relu())

    real = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) + 3
    with detente.checks.off():
        game = Adversarial(Cut, lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)), real, 4, batch=16)
    report = detente.rescue(game, methods.alternating(learning_rate=1e-3), steps=40, out=tmp_path)
    assert report.only_by_hand and not report.trials and report.best is None
    assert "no_grad" in str(report) and "Only a change of your own code" in str(report)


def test_one_sample_is_a_finding(tmp_path: Path) -> None:
    with detente.checks.off():
        game = Adversarial(lambda: nn.Linear(4, 2), lambda: nn.Linear(2, 1), torch.randn(1, 2), 4, batch=1)
    report = detente.rescue(game, methods.alternating(learning_rate=1e-3), steps=40, out=tmp_path)
    assert report.findings[0].failure == "too few data" and report.only_by_hand


class Runner:
    """A trial whose score and judgement are known."""

    def __init__(self, score: float, steps: int, cures: bool = False) -> None:
        self.score, self.steps, self.whole, self.step_cost, self.quality = score, steps, 100, 1.0, object()
        self.observed, self.judgement = SimpleNamespace(diverged=""), SimpleNamespace(cured=cures)
        self.outcome = ""

    @property
    def share(self) -> float:
        return self.steps / self.whole

    def advance(self, steps: int) -> Any:
        self.steps = steps
        yield steps


def test_a_dropped_trial_has_a_second_chance_if_the_winner_is_no_cure(tmp_path: Path) -> None:
    def after(winner_cures: bool, budget: float) -> tuple[list[int], int]:
        trials: list[Any] = [Runner(0.9, 100, winner_cures), Runner(0.5, 40, True), Runner(0.4, 10)]
        result = Rescue(100, budget, tmp_path, trials=trials, cost=1.5)
        list(_second_chances(result, budget))
        _finish(result)
        return [trial.steps for trial in trials], trials.index(result.best)

    assert after(True, 3.0) == ([100, 40, 10], 0)
    assert after(False, 2.0) == ([100, 40, 10], 0), "there is no room"
    assert after(False, 3.0) == ([100, 100, 10], 1), "it is a cure, although its score is lower"
