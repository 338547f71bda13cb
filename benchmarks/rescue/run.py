"""The runner: `python -m benchmarks.rescue.run ARM [CASE …] --seeds 0 1 … --out DIR`, and `… table --out DIR`.

Arms: `admit` (the failing set-up and its healthy twin), `rescue` (`detente.rescue` with three runs' compute), `default`
(one strong default for all cases, at equal compute) and `random` (the best of random methods and rates, at equal
compute). Each result is a line of DIR/results.jsonl. Finished results are not computed again, unless they ended with an
error or the case's code has changed since (except docstrings).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import os
import signal
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import detente
from benchmarks.rescue import marks, parts
from benchmarks.rescue.cases import case, names
from benchmarks.rescue.table import table
from detente import methods
from detente.data.base import StoredData
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.gan import gan_of
from detente.methods.base import with_rates
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.signals.reference import Reference
from detente.training.loop import train
from detente.training.run import Run

ARMS = ("admit", "rescue", "default", "random")
BUDGET = 3  # compute of every arm except `admit`, in runs
OBSERVATIONS = 24  # number of times that samples are observed during a run
TRIALS = 3  # whole runs of random search
GENERATOR_RATE, DISCRIMINATOR_RATE, GAMMA = 1e-4, 4e-4, 1.0  # of the default: TTUR's rates as in SAGAN, R1 and R2


@dataclass
class Outcome:
    """The outcome of a training run.

    Args:
        samples: samples of the last state, or None if it is not finite.
        history: samples during the last third.
        diverged_at: step of the first value that is not finite.
        seconds: time of the steps.
        losses: mean losses of the last record.
    """

    samples: Tensor | None
    history: list[Tensor] = field(default_factory=list)
    diverged_at: int | None = None
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)


def trained(mark: Any, game: Any, method: Method, steps: int, seed: int) -> Outcome:
    """Train a game, and return samples of its last state."""
    run = Run(
        game,
        method,
        steps=steps,
        seeds=(seed,),
        threads=1,
        record_every=max(1, steps // OBSERVATIONS),
        measure_every=steps,
        samples=64,
        loggers=(),
    )
    gan, outcome, tick = gan_of(game), Outcome(None), None
    for tick in train(run):
        if tick.infos:
            outcome.losses = {name: float(loss.mean()) for name, loss in tick.infos[seed].losses.items()}
        if mark.observed and tick.step > 2 * steps / 3 and tick.step < steps and tick.progress[0].active:
            outcome.history.append(_samples(mark, gan, method, tick.progress[0].state))
    assert tick is not None
    outcome.diverged_at, outcome.seconds = tick.progress[0].diverged_at, tick.progress[0].seconds
    if outcome.diverged_at is None:
        outcome.samples = _samples(mark, gan, method, tick.progress[0].state)
    return outcome


def _samples(mark: Any, gan: Any, method: Method, state: Any) -> Tensor:
    state = method.scheme.eval_state(state)
    return gan.samples(state.vectors, state.buffers, mark.count, torch.Generator().manual_seed(12345))


def real_samples(module: ModuleType, game: Any) -> Tensor:
    """Return the real samples that the criteria compare with."""
    if hasattr(module, "real"):
        return module.real()
    data = getattr(game, "data", None)
    if isinstance(data, StoredData):
        return data.take(torch.arange(data.size))["real"]
    return gan_of(game).real(module.MARKS.count, torch.Generator().manual_seed(54321))


def measured(module: ModuleType, outcome: Outcome, real: Tensor) -> dict[str, float]:
    """Return the numbers that the criteria need; empty after a divergence."""
    if outcome.samples is None:
        return {}
    return module.MARKS.measure(outcome.samples, real, outcome.history)


def described(module: ModuleType, outcome: Outcome, real: Tensor, steps: int) -> dict[str, Any]:
    """Return an outcome as part of a row."""
    return {
        "measures": measured(module, outcome, real),
        "diverged_at": outcome.diverged_at,
        "losses": outcome.losses,
        "steps": steps,
        "seconds": round(outcome.seconds, 2),
    }


def admit(module: ModuleType, seed: int) -> dict[str, Any]:
    """Train the failing set-up and its healthy twin. A game that cannot be constructed has failed."""
    twin_game, twin_method = module.twin()
    twin_steps = getattr(module, "TWIN_STEPS", module.STEPS)
    real = real_samples(module, twin_game)
    row: dict[str, Any] = {}
    if module.CLASSES != ("healthy",):
        outcome = trained(module.MARKS, twin_game, twin_method, twin_steps, seed)
        row["twin"] = described(module, outcome, real, twin_steps)
    try:
        game, method = module.game(), module.method()
    except InvalidValue as error:
        return {"refused": str(error), "measures": {}, "steps": 0, "seconds": 0.0, **row}
    outcome = trained(module.MARKS, game, method, module.STEPS, seed)
    return {**described(module, outcome, real, module.STEPS), **row}


def rescue(module: ModuleType, seed: int) -> dict[str, Any]:
    """Rescue the failing set-up with three runs' compute."""
    started = time.perf_counter()
    game, method = module.game(), module.method()
    report: Any = detente.rescue(  # pyright: ignore[reportAttributeAccessIssue]
        game,
        method,
        budget=f"{BUDGET}x",
        steps=module.STEPS,
        seed=seed,
        may_change_networks=module.MAY_CHANGE_NETWORKS,
    )
    outcome = Outcome(None)
    if report.best is not None:
        outcome.samples = report.best.sample(module.MARKS.count)
    return {
        "findings": [finding.failure for finding in report.findings],
        "verdict": str(report.verdict),
        "touched": report.best is not None,
        "cost": float(report.cost),
        **described(module, outcome, real_samples(module, game), module.STEPS),
        "seconds": round(time.perf_counter() - started, 2),
    }


def cost_of_step(game: Any, method: Method) -> float:
    """Return the cost of a step in gradient evaluations; a gradient penalty adds two to each of D's."""
    evaluations = method.gradient_evaluations(game)
    slopes = sum(penalty.differentiates for penalty in getattr(game, "penalties", ()))
    turns = max(1.0, evaluations - 1 if "Alternating" in repr(method.scheme) else evaluations / 2)
    return evaluations + 2 * slopes * turns


def default_of(module: ModuleType) -> tuple[Any, Method]:
    """Return the case with the default settings; with custom losses, only the method changes."""
    game = module.separate() if hasattr(module, "separate") else module.game()
    rates = {"generator": GENERATOR_RATE, "discriminator": DISCRIMINATOR_RATE}
    method = methods.averaged()
    method = replace(method, optimizer=with_rates(rates, GENERATOR_RATE, lambda rate: Adam(rate, (0.0, 0.99))))
    if not isinstance(game, Adversarial):
        return game, method
    changes: dict[str, Any] = {"objective": "relativistic", "penalties": (R1(GAMMA), R2(GAMMA))}
    try:
        return game.changed(**changes), method
    except InvalidValue:  # a sigmoid at the discriminator's end
        return game.changed(**changes, scores="probabilities"), method


def default(module: ModuleType, seed: int) -> dict[str, Any]:
    """Train the case with the default settings, for three runs' compute."""
    game, method = default_of(module)
    budget = BUDGET * module.STEPS * cost_of_step(module.game(), module.method())
    steps = max(1, round(budget / cost_of_step(game, method)))
    outcome = trained(module.MARKS, game, method, steps, seed)
    return {**described(module, outcome, real_samples(module, game), steps), "cost": float(BUDGET)}


def random_method(generator: torch.Generator) -> tuple[str, Method, dict[str, float]]:
    """Return a random method with random rates: its name, the method, and its settings."""
    kinds = ("simultaneous", "alternating", "extragradient", "optimistic_adam", "lookahead", "averaged", "consensus")
    kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
    exponents = -5 + 3 * torch.rand(2, generator=generator)  # rates are log-uniform on [1e-5, 1e-2]
    rates: dict[str, float] = dict(zip(("generator", "discriminator"), (10**exponents).tolist(), strict=True))
    beta = (0.0, 0.5, 0.9)[int(torch.randint(3, (), generator=generator))]
    strength = float(10 ** (-2 + 3 * torch.rand((), generator=generator)))
    if kind == "optimistic_adam":
        method = methods.optimistic_adam(rates, (beta, 0.9))
    else:
        method = methods.consensus(strength) if kind == "consensus" else getattr(methods, kind)()
        method = replace(method, optimizer=with_rates(rates, 1e-4, lambda rate: Adam(rate, (beta, 0.999))))
    return kind, method, {**rates, "beta": beta, **({"strength": strength} if kind == "consensus" else {})}


def random(module: ModuleType, seed: int) -> dict[str, Any]:
    """Train with random methods and rates, and select the one whose samples are nearest to the data, without labels."""
    game, generator = module.game(), torch.Generator().manual_seed(1000 + seed)
    real = real_samples(module, game)
    reference = Reference(real[torch.randperm(len(real), generator=torch.Generator().manual_seed(3))[:2048]])
    budget, best, best_score, tried = module.STEPS * cost_of_step(game, module.method()), Outcome(None), -1e300, []
    total = 0.0
    while len(tried) < TRIALS:
        kind, method, settings = random_method(generator)
        try:
            method.playing(game).check(game)
        except InvalidValue:  # the method does not support these networks
            continue
        steps = max(1, round(BUDGET * budget / TRIALS / cost_of_step(game, method)))
        outcome = trained(module.MARKS, game, method, steps, seed)
        total += outcome.seconds
        score = float("-inf") if outcome.samples is None else reference.quality(outcome.samples[:1024]).score
        tried.append({"method": kind, **settings, "steps": steps, "score": score})
        if score > best_score:
            best, best_score = outcome, score
    row = described(module, best, real, module.STEPS)
    return {**row, "cost": float(BUDGET), "tried": tried, "seconds": round(total, 2)}


def code_of(name: str) -> str:
    """Return a hash of the code that makes a case, without docstrings."""
    digest = hashlib.sha256()
    for module in (case(name), parts, marks):
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def version() -> str:
    """Return a hash of the package's code, on which a row of `rescue` depends; rows of older code are marked."""
    digest = hashlib.sha256()
    for path in sorted(Path(detente.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def completed_rows(folder: Path, older: bool = False) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the rows in a folder by arm, case and seed; incomplete lines do not count.

    Args:
        folder: the folder.
        older: whether rows of earlier code of a case count, too, where there is no newer one.
    """
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    codes: dict[str, str] = {}
    before: dict[str, str] = {}
    path = folder / "results.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            key = row["arm"], row["case"], row["seed"]
            if row["code"] == codes.setdefault(row["case"], code_of(row["case"])):
                rows[key] = row
            elif older and rows.get(key, {"older": True}).get("older"):
                before[row["case"]] = row["code"]
                rows[key] = {**row, "older": True}
        except (ValueError, KeyError):
            continue
    return {key: row for key, row in rows.items() if not row.get("older") or row["code"] == before[key[1]]}


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """Write a row in one piece, on a new line even after an incomplete one."""
    path = folder / "results.jsonl"
    cut = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    with path.open("ab") as file:
        file.write(b"\n" * cut + json.dumps(row, default=float).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def conduct(arm: str, cases: Sequence[str], seeds: Sequence[int], folder: Path) -> None:
    """Compute the missing results of an arm, seed by seed."""
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    package = version()
    functions = {"admit": admit, "rescue": rescue, "default": default, "random": random}
    for seed in seeds:
        for name in cases:
            if "error" not in completed_rows(folder).get((arm, name, seed), {"error": "not done"}):
                continue
            started, processor = time.perf_counter(), time.process_time()
            try:
                row = functions[arm](case(name), seed)
            except Exception as error:  # noqa: BLE001  # a case that breaks must not end the others
                row = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-3)}
            row |= {
                "wall": round(time.perf_counter() - started, 2),
                "processor": round(time.process_time() - processor, 2),
            }
            row = {"arm": arm, "case": name, "seed": seed, "code": code_of(name), "package": package, **row}
            append(folder, row)
            shown = {key: row[key] for key in ("measures", "twin", "findings", "cost", "error", "wall") if key in row}
            print(arm, name, seed, json.dumps(shown, default=float), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an arm, or print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescue.run", description=__doc__)
    parser.add_argument("arm", choices=[*ARMS, "table"])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: all of {', '.join(names())}")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--out", type=Path, default=Path("runs/rescue-bench"))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.cases if name not in names()]
    if unknown:
        parser.error(f"CASE: {unknown[0]}: one of {', '.join(names())}")
    cases = options.cases or names()
    if options.arm == "table":
        print(table(completed_rows(options.out, older=True), cases))
    else:
        conduct(options.arm, cases, options.seeds, options.out)


if __name__ == "__main__":
    main()
