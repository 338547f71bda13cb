"""Runs small enough to be trained many times, by name; as a program, resumes recorded ones.

`python -m tests.training.small_runs FOLDER STEPS` continues every run directory in FOLDER, to step STEPS.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detente import registry as catalogue
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.fields.consensus import Consensus
from detente.fields.covariance import Covariance
from detente.fields.gradient import Gradient
from detente.fields.smoothing import Smoothing
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.optimizers.base import Wrapper
from detente.optimizers.clipped import Clipped
from detente.optimizers.momentum import Momentum
from detente.optimizers.reduce_on_plateau import ReduceOnPlateau
from detente.optimizers.sgd import SGD
from detente.penalties.gradient_penalty import GradientPenalty
from detente.schedules import Cosine
from detente.schemes.alternating import Alternating
from detente.schemes.simultaneous import Simultaneous
from detente.training.loop import Progress, train
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.record import Record

COSTS = ("seconds", "seconds_per_step", "memory_mib")
EVERY: dict[str, Any] = {"record_every": 5, "measure_every": 10, "checkpoint_every": 10, "samples": 8}


def generator(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), *middle, nn.ReLU(), nn.Linear(6, 2))


def discriminator(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 6), *middle, nn.LeakyReLU(0.2), nn.Linear(6, 1))


def ring(*, batch_norm: bool = True, dropout: bool = False, penalty: bool = False) -> Adversarial:
    """A ring with networks of a few dozen parameters that have running statistics, or random numbers of their own."""

    def make_generator() -> nn.Module:
        return generator(*[nn.BatchNorm1d(6)] * batch_norm)

    def make_discriminator() -> nn.Module:
        return discriminator(*[nn.Dropout(0.3)] * dropout)

    penalties = (GradientPenalty(),) if penalty else ()
    return Adversarial(make_generator, make_discriminator, Ring(), latent=3, batch=8, penalties=penalties)


def built(optimizer: type) -> Any:
    """Return an optimizer with its defaults; those that wrap, around momentum."""
    if not issubclass(optimizer, Wrapper):
        return optimizer()
    return Clipped(Momentum(0.01), bound=0.3) if optimizer is Clipped else optimizer(Momentum(0.01))


def inside(scheme: type) -> Any:
    """Return a scheme with its defaults; one that wraps another, around the simultaneous one."""
    return scheme(inner=Simultaneous()) if "inner" in signature(scheme).parameters else scheme()


def fits(method: Method, game: Game) -> bool:
    """Whether a method can be played on a game: some are for a generator and a discriminator alone."""
    try:
        method.check(game)
    except InvalidValue:
        return False
    return True


def runs(steps: int, **changes: Any) -> dict[str, Run]:
    """Return every scheme and every optimizer on the bilinear game and on a ring, for one seed and for several."""
    schemes, optimizers = catalogue.members("schemes"), catalogue.members("optimizers")
    methods = {f"scheme-{name}": Method(Gradient(), inside(scheme), SGD(0.05)) for name, scheme in schemes.items()}
    optimizers = {name: kind for name, kind in optimizers.items() if kind is not ReduceOnPlateau}  # needs a metric
    white = {name: kind for name, kind in optimizers.items() if not built(kind).needs_covariance}
    methods |= {f"optimizer-{name}": Method(Gradient(), Simultaneous(), built(o)) for name, o in white.items()}
    games: dict[str, Game] = {"bilinear": Bilinear(3), "ring": ring()}
    make = partial(Run, steps=steps, compile="off", **{**EVERY, **changes})
    result = {
        f"{label}-{game}-{len(seeds)}": make(games[game], method, seeds=seeds)
        for label, method in methods.items()
        for game, seeds in (("bilinear", (3,)), ("ring", (3,)), ("ring", (0, 1, 2)))
        if fits(method, games[game])
    }
    result["scheme-simultaneous-bilinear-3"] = make(games["bilinear"], methods["scheme-simultaneous"], seeds=(0, 1, 2))
    mixed = Method(Gradient(), Alternating(turns={"discriminator": 2}), built(optimizers["adam"]))
    fading = Method(Consensus(0.1), Simultaneous(), SGD(Cosine(0.1, 0.01, 20)))
    result["turns-dropout-3"] = make(ring(dropout=True), mixed, seeds=(0, 1, 2))
    result["penalty-ring-3"] = make(ring(penalty=True), mixed, seeds=(0, 1, 2))
    result["consensus-schedule-ring-3"] = make(ring(), fading, seeds=(0, 1, 2))
    result["smoothing-ring-1"] = make(ring(), Method(Smoothing(0.1), Simultaneous(), SGD(0.1)))
    for name in sorted(optimizers.keys() - white.keys()):  # want a covariance of per-sample gradients: no BatchNorm
        players = {"generator": SGD(0.05), "discriminator": built(optimizers[name])}
        coloured = Method(Covariance(), Alternating(), players)
        for seeds in ((3,), (0, 1, 2)):
            result[f"optimizer-{name}-ring-{len(seeds)}"] = make(ring(batch_norm=False), coloured, seeds=seeds)
    return result


def last(run: Run, start: tuple[Progress, ...] | None = None) -> dict[str, Tensor]:
    """Return everything that the end of a training carries, by path, without writing a file."""
    progress: tuple[Progress, ...] = ()
    for tick in train(run, start):
        progress = tick.progress
    return carried(progress)


def carried(progress: tuple[Progress, ...]) -> dict[str, Tensor]:
    """Return states and random generators by path."""
    tensors = {f"{seed.seed}/{key}": tensor for seed in progress for key, tensor in seed.state.flat().items()}
    return tensors | {f"{seed.seed}/random": seed.random for seed in progress}


def record(run: Run, directory: Path, resume: bool = False) -> None:
    """Train a run into a directory."""
    with Record(run, directory, {}, resume=resume) as written:
        for _ in written.follow(train(run, written.start)):
            pass


def saved(directory: Path) -> dict[str, Tensor]:
    """Return the tensors of a run directory's last checkpoint."""
    return checkpoint.read_tensors(checkpoint.files(directory / "checkpoints")[-1])[0]


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return the record of a run directory, strictly read, but for time and memory."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in metrics.jsonl")

    text = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line, parse_constant=refuse) for line in text]
    return [{key: value for key, value in line.items() if key not in COSTS} for line in read]


def assert_same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Assert that both hold the same names, and the same bits under each."""
    assert actual.keys() == expected.keys()
    for key, tensor in actual.items():
        assert tensor.dtype == expected[key].dtype, key
        first, second = (tensors.contiguous().reshape(-1).view(torch.uint8) for tensors in (tensor, expected[key]))
        assert torch.equal(first, second), f"{key} differs"


if __name__ == "__main__":
    folder, to = Path(sys.argv[1]), int(sys.argv[2])
    known = runs(10)
    for directory in sorted(folder.iterdir()):
        record(replace(known[directory.name], steps=to), directory, resume=True)
