"""Trains cases in two processes together and in one alone, and compares them; `trained` starts the two processes."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist

from detente import methods
from detente.checks.switch import off
from detente.game import EvaluationSettings, Game
from detente.methods.method import Method
from detente.ranks import BatchNorm, Ranks, counting_messages, together
from detente.state import State
from detente.training.step import Draw, Steps, draw

ROOT = Path(__file__).parents[2]
COUNT = 2  # ranks
Result = dict[str, Any]  # of a case or a function, with "error" if it raised one


@dataclass(frozen=True)
class Case:
    """A short training.

    Args:
        game: returns the game.
        method: returns the method.
        steps: number of steps.
        seeds: one training per seed, all in one mapped step if there are several.
        dtype: of all parameters.
        batch_norm: as of `Ranks`.
        settings: as of `Game.with_settings`.
        compiled: whether steps are compiled.
    """

    game: Callable[[], Game]
    method: Callable[[], Method] = lambda: methods.names()["alternating"]()
    steps: int = 2
    seeds: tuple[int, ...] = (3,)
    dtype: torch.dtype = torch.float64
    batch_norm: BatchNorm = "whole"
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    compiled: bool = False


@dataclass(frozen=True)
class Trained:
    """States before and after a training, for each seed, and what was sent in a step.

    Args:
        first: the states before the first step.
        last: the states after the last step.
        messages: number of messages of the last step.
        held: number of numbers in each tensor of the first seed's last state that this rank held.
        sizes: number of bytes of each tensor's storage in that state.
        fallback: why steps were neither mapped nor compiled.
    """

    first: list[State]
    last: list[State]
    messages: int
    held: dict[str, int]
    sizes: dict[str, int]
    fallback: str


def game_of(case: Case) -> Game:
    """Return the game of a case, in float32 like data and examples."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    with off():
        return case.game().with_settings(case.settings)


def train(case: Case, ranks: Ranks | None, game: Game | None = None) -> Trained:
    """Train a case, in this process alone or with others; `game` is that of `game_of`, if it is there already."""
    game = game_of(case) if game is None else game
    torch.set_default_dtype(torch.float32)
    with off(), together(ranks):
        method = case.method()
        generators = [torch.Generator().manual_seed(seed) for seed in case.seeds]
        states = [_in(case.dtype, method.initial(game, generator)) for generator in generators]
        torch.set_default_dtype(case.dtype)
        first, calls = states, 0
        steps = Steps(game, method, mapped=len(states) > 1, compiled=case.compiled)
        for _ in range(case.steps):
            states = [
                method.prepare(game, *state_and_generator)
                for state_and_generator in zip(states, generators, strict=True)
            ]
            draws = [
                [_own(case, game, method, draw(game, method, *state_and_generator), ranks)]
                for state_and_generator in zip(states, generators, strict=True)
            ]
            with counting_messages() as messages:
                states, _ = steps(states, draws)
            calls = messages.calls
        held = {name: tensor.numel() for name, tensor in states[0].flat().items()}
        sizes = {name: tensor.untyped_storage().nbytes() for name, tensor in states[0].flat().items()}
        first, last = ([method.whole_state(state, ranks) for state in some] for some in (first, states))
    return Trained(first, last, calls, held, sizes, steps.fallback_reason)


def _in(dtype: torch.dtype, state: State) -> State:
    return State.from_flat({name: _cast(dtype, tensor) for name, tensor in state.flat().items()}, state)


def _cast(dtype: torch.dtype, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _own(case: Case, game: Game, method: Method, drawn: Draw, ranks: Ranks | None) -> Draw:
    """Return this rank's part of a draw, in the case's dtype."""
    whole = tuple({name: _cast(case.dtype, tensor) for name, tensor in batch.items()} for batch in drawn.batches)
    return Draw(method.batches_of_rank(game, whole, ranks), drawn.noise)


def distance(trained: Trained, alone: Trained) -> float:
    """Return how far two trainings are apart, relative to how far each player moved."""
    worst = 0.0
    for state, other, start in zip(trained.last, alone.last, alone.first, strict=True):
        for name, vector in other.vectors.items():
            moved = float((vector - start.vectors[name]).norm())
            apart = float((state.vectors[name] - vector).norm())
            worst = max(worst, apart / moved if moved else apart)
    return worst


def buffer_distance(trained: Trained, alone: Trained) -> float:
    """Return the largest difference of a buffer."""
    worst = 0.0
    for state, other in zip(trained.last, alone.last, strict=True):
        for player, named in other.buffers.items():
            for name, buffer in named.items():
                worst = max(worst, float((state.buffers[player][name].double() - buffer.double()).abs().max()))
    return worst


def _bits(trained: Trained) -> list[Any]:
    return [{name: tensor.numpy().tobytes() for name, tensor in state.flat().items()} for state in trained.last]


def _pairs(trained: Trained) -> Any:
    """Return the bits of SGAN's local pairs."""
    bits = _bits(trained)
    return [{name: value for name, value in of_seed.items() if "/locals/" in name} for of_seed in bits]


def _results(cases: Mapping[str, Case], ranks: Ranks) -> dict[str, Result]:
    """Return what this rank found; the training in one process is compared with it on one rank each."""
    results: dict[str, Result] = {}
    for index, (name, case) in enumerate(cases.items()):
        start = time.process_time()
        local_ranks = Ranks(ranks.rank, ranks.count, case.batch_norm)
        try:
            game = game_of(case)
            trained = train(case, local_ranks, game)
            result = {"messages": trained.messages, "fallback": trained.fallback}
            bits_of_ranks: list[Any] = [None] * ranks.count
            dist.all_gather_object(bits_of_ranks, _bits(trained))
            result["same"] = all(bits == bits_of_ranks[0] for bits in bits_of_ranks)
            if index % ranks.count == ranks.rank:
                alone = train(case, None, game)
                result |= {"distance": distance(trained, alone), "buffers": buffer_distance(trained, alone)}
                result |= {"alone": alone.fallback, "pairs": _pairs(trained) == _pairs(alone)}
        except Exception:
            result = {"error": traceback.format_exc()}
        results[name] = {**result, "seconds": time.process_time() - start}
        if os.environ.get("VERBOSE"):
            print(ranks.rank, name, results[name], flush=True)
    return results


def main(folder: str, rank: str, *modules: str) -> None:
    """Run as one of the processes: write what it found as JSON."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)  # raised while compiling
    ranks, address = Ranks(int(rank), COUNT), f"file://{folder}/store"
    wait = timedelta(seconds=300)
    dist.init_process_group("gloo", address, rank=ranks.rank, world_size=COUNT, timeout=wait)
    results = {name: _of_module(importlib.import_module(name), ranks) for name in modules}
    Path(folder, f"{rank}.json").write_text(json.dumps(results), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def _of_module(tests: Any, ranks: Ranks) -> dict[str, Result]:
    """Return what this rank found for a module's `cases`, and the results of its `functions` of a rank."""
    results = _results(tests.cases(), ranks) if hasattr(tests, "cases") else {}
    for name, function in tests.functions().items() if hasattr(tests, "functions") else ():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float32)
        try:
            results[name] = function(ranks)
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    return results


def trained(modules: Sequence[str]) -> dict[str, dict[str, Result]]:
    """Return the results of modules, by the names of the module and of the case or function, from two processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with TemporaryDirectory() as folder:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.ranks.job", folder, str(rank), *modules],
                cwd=ROOT,
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(COUNT)
        ]
        errors = [process.communicate(timeout=600)[1] for process in processes]
        assert not any(process.returncode for process in processes), "\n".join(errors)
        first, second = (json.loads(Path(folder, f"{rank}.json").read_text(encoding="utf-8")) for rank in range(COUNT))
    return {
        module: {name: result | second[module][name] for name, result in of_module.items()}
        for module, of_module in first.items()
    }


def assert_equal(result: Result, tolerance: float = 1e-11) -> None:
    """Assert that ranks agree to the bit with each other, and to rounding with one process."""
    assert "error" not in result, result["error"]
    assert result["same"], "the ranks differ"
    assert result["distance"] <= tolerance, result
    assert result["buffers"] <= 100 * tolerance, result


if __name__ == "__main__":
    main(*sys.argv[1:])
