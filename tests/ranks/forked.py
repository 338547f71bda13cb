"""Trains in forked processes, as torchrun would start them: `python -m tests.ranks.forked FOLDER`.

Everything is imported once, before any fork, so that a process starts in no time. What happens to one, such as its
death, happens at one of its steps. The exit statuses and the texts of all scenarios are written to FOLDER/results.json.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import detente.cli.commands.resume
import detente.cli.commands.train
import detente.training.run_directory.shared_record  # noqa: F401
from detente import cli
from detente.methods import consensus
from detente.registry import members
from detente.state import State
from detente.training import step
from detente.training.run_directory import checkpoint
from detente.training.step import Steps
from tests.training.small_runs import ring

NETWORKS = "--game.width 4 --game.depth 1 --game.batch 8 --method consensus --compile off --threads 1 --no-checks"
SETTINGS = f"{NETWORKS} --steps 60 --record_every 5 --measure_every 20 --checkpoint_every 10 --samples 8 --timeout 20"
TRAIN = ["train", "--game", "ring", *SETTINGS.split()]
EVENT = 27  # call of `Steps` at which something happens: after the checkpoint of step 20
LATE = ("torch._dynamo", "torch.distributed.tensor", "torch.utils.tensorboard", "detente.games.presets.points")
LATE += ("detente.checks.at_construction", "detente.training.run_directory.description")  # all imported at first use
Event = Callable[[], None]


def started(action: Callable[[], int], log: Path, environment: dict[str, str], prepare: Event) -> int:
    """Return the process id of a child that carries out an action after a preparation."""
    child = os.fork()
    if child:
        return child
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    status = 1
    try:
        prepare()
        status = action()
    finally:
        os._exit(status)


def launched(
    folder: Path,
    action: Callable[[int], Callable[[], int]],
    prepare: Callable[[int], Event],
    ranks: Sequence[int] = (0, 1),
    count: int = 2,
    restarts: int = 0,
    job: str = "",
) -> dict[str, Any]:
    """Start ranks as torchrun does: when one fails, the others get SIGTERM, and all start again.

    Args:
        folder: where the texts of the ranks are written.
        action: what a rank does, and its exit status.
        prepare: what a rank does before, in its first attempt.
        ranks: the ranks that come.
        count: the number of ranks that there should be.
        restarts: how often the ranks may start again.
        job: name of torchrun's job.
    """
    log = folder / f"log{len(list(folder.glob('log*')))}.txt"
    statuses: list[dict[int, int]] = []
    for attempt in range(restarts + 1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children: dict[int, int] = {}
        for rank in ranks:
            environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
            # Only the machine on which a process failed counts that, and a new machine does not.
            environment |= {"TORCHELASTIC_RESTART_COUNT": str(attempt if rank == 1 and not job else 0)}
            environment |= {"TORCHELASTIC_RUN_ID": job or "none"}
            event = prepare(rank) if attempt == 0 else (lambda: None)
            children[started(action(rank), log, environment, event)] = rank
        statuses.append(_waited(children))
        if not any(statuses[-1].values()):
            break
    return {"statuses": statuses, "text": log.read_text(encoding="utf-8")}


def _waited(children: dict[int, int]) -> dict[int, int]:
    """Return the exit status of each rank; those that remain after a failure get SIGTERM, stopped ones SIGKILL."""
    statuses: dict[int, int] = {}
    left = dict(children)
    while left:
        child, status = os.wait()
        statuses[left.pop(child)] = code = os.waitstatus_to_exitcode(status)
        if code and left:
            for other in left:
                number = signal.SIGKILL if _is_stopped(other) else signal.SIGTERM
                os.kill(other, number)
    return dict(sorted(statuses.items()))


def _is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"


def at_step(rank: int, victim: int, event: Event) -> Event:
    """Return a preparation of a rank: `event` happens to the victim before its step number `EVENT`."""

    def prepare() -> None:
        call, calls = Steps.__call__, [0]

        def counted(steps: Steps, *arguments: Any) -> Any:
            calls[0] += 1
            if rank == victim and calls[0] == EVENT:
                event()
            return call(steps, *arguments)

        Steps.__call__ = counted  # pyright: ignore[reportAttributeAccessIssue]

    return prepare


def sent(number: int) -> Event:
    """Return an event in which a process sends a signal to itself."""
    return lambda: os.kill(os.getpid(), number)


def nothing() -> None:
    """Do nothing."""


def by_gloo() -> None:
    """Send messages as between several machines."""
    os.environ["DETENTE_SHARED_MEMORY"] = "0"


def in_float64() -> None:
    """Make all parameters float64."""
    torch.set_default_dtype(torch.float64)


def full_disk() -> None:
    """Let the second checkpoint after the start find a full disk."""
    save = checkpoint.save

    def fail(folder: Path, progress: Any, *arguments: Any) -> Path:
        if max(entry.step for entry in progress) >= 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return save(folder, progress, *arguments)

    checkpoint.save = fail


def killed_while_saving() -> None:
    """Be killed at step 30, where the other ranks have written their parts of a checkpoint."""
    save = checkpoint.save

    def die(folder: Path, progress: Any, *arguments: Any) -> Path:
        if max(entry.step for entry in progress) >= 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return save(folder, progress, *arguments)

    checkpoint.save = die


def drift() -> None:
    """Change the last bit of one parameter in every step from now on."""
    call = Steps.__call__

    def drifting(steps: Steps, states: Sequence[State], *arguments: Any) -> Any:
        states, infos = call(steps, states, *arguments)
        vector = states[0].vectors["generator"].clone()
        vector[3] = torch.nextafter(vector[3], torch.tensor(9.0, dtype=vector.dtype))
        return [replace(states[0], vectors={**states[0].vectors, "generator": vector})], infos

    Steps.__call__ = drifting  # pyright: ignore[reportAttributeAccessIssue]


def no_compiler() -> None:
    """Let compiling fail."""

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no compiler here")

    step.Graph = fail  # pyright: ignore[reportAttributeAccessIssue]


def any_compiler() -> None:
    """Let compiling succeed, in no time."""
    step.Graph = lambda *arguments: None  # pyright: ignore[reportAttributeAccessIssue]


def step_together(folder: Path) -> int:
    """Train with a `Stepper` on this rank's rows, and alone on all; write how far both are apart."""
    torch.set_default_dtype(torch.float64)
    rows = torch.randn(6, 8, 2, generator=torch.Generator().manual_seed(1))
    distances = {}
    for accumulate in (1, 2):
        game = ring(penalty=True)
        ranks = detente.joined("cpu", timeout=20)
        assert ranks is not None
        torch.manual_seed(ranks.rank)
        stepper = detente.Stepper(game, consensus(), seed=ranks.rank, accumulate=accumulate, ranks=ranks)
        torch.manual_seed(0)
        alone = detente.Stepper(game, consensus(), accumulate=accumulate)
        for batch in rows:
            own, whole = stepper.step(batch[ranks.rows(len(batch), accumulate)].numpy()), alone.step(batch)
            stepper.step()
            alone.step()
        pairs = zip(stepper.state.vectors.values(), alone.state.vectors.values(), strict=True)
        distances[accumulate] = max(float((x - y).norm() / y.norm()) for x, y in pairs)
        distances[f"loss {accumulate}"] = abs(float(own.losses["generator"] - whole.losses["generator"]))
    (folder / f"stepper{ranks.rank}.json").write_text(json.dumps(distances), encoding="utf-8")
    return 0


def scenarios(folder: Path) -> dict[str, Any]:
    """Carry out all scenarios, and return what became of them."""
    results: dict[str, Any] = {}

    def carry_out(name: str, prepare: Callable[[int], Event], extra: Sequence[str] = (), **options: Any) -> None:
        words = options.pop("words", lambda rank: [*TRAIN, "--out", str(folder / name), *extra])
        results[name] = launched(folder, lambda rank: partial(cli.main, list(words(rank))), prepare, **options)

    carry_out("whole", lambda rank: nothing)
    carry_out("alone", lambda rank: nothing, ranks=(0,), count=1)
    for victim in (0, 1):
        event = sent(signal.SIGKILL)
        carry_out(f"killed{victim}", lambda rank, v=victim, e=event: at_step(rank, v, e), restarts=1)
    carry_out("replaced", lambda rank: at_step(rank, 1, sent(signal.SIGKILL)), ["--overwrite"], restarts=1, job="job7")
    carry_out("killed", lambda rank: at_step(rank, 1, sent(signal.SIGKILL)))
    shutil.copytree(folder / "killed", folder / "requeued")
    carry_out("requeued", lambda rank: nothing, ["--resume"])
    carry_out("compare", lambda rank: nothing, words=lambda rank: ["compare", "--game", "ring"])
    carry_out("stopped", lambda rank: at_step(rank, 1, sent(signal.SIGTERM)))
    resume = ["resume", str(folder / "stopped"), "--timeout", "20"]
    carry_out("resumed", lambda rank: nothing, words=lambda rank: resume)
    carry_out("hanging", lambda rank: at_step(rank, 1, sent(signal.SIGSTOP)), ["--timeout", "1.5"])
    carry_out("missing", lambda rank: nothing, ["--timeout", "1.5"], ranks=(0,))
    carry_out("full", lambda rank: full_disk if rank == 0 else nothing)
    carry_out("drift", lambda rank: at_step(rank, 1, drift))
    carry_out("mistake", lambda rank: nothing, ["--game.batch", "9"])
    carry_out("typo", lambda rank: nothing, ["--stepps", "9"])
    carry_out("occupied", lambda rank: nothing, words=lambda rank: [*TRAIN, "--out", str(folder / "whole")])
    carry_out(
        "data",
        lambda rank: nothing,
        words=lambda rank: [*TRAIN, "--out", str(folder / "data"), "--game.modes", str(8 + rank)],
    )
    carry_out("exact-alone", lambda rank: in_float64, ranks=(0,), count=1)
    carry_out("exact", lambda rank: in_float64, ["--steps", "30"])
    resume = ["resume", str(folder / "exact"), "--steps", "60"]
    carry_out("fewer", lambda rank: in_float64, words=lambda rank: resume, ranks=(0,), count=1)
    # Pairs are divided, and not the rows of a batch.
    sgan = [*TRAIN, "--method", "sgan", "--method.pairs", "4", "--game.batch", "7"]
    for name, ranks, steps in (("pairs-alone", (0,), "20"), ("pairs", (0, 1), "10")):
        words = [*sgan, "--out", str(folder / name), "--steps", steps]
        count = len(ranks)
        carry_out(name, lambda rank: in_float64, words=lambda rank, w=words: w, ranks=ranks, count=count)
    resume = ["resume", str(folder / "pairs"), "--steps", "20"]
    carry_out("pairs-fewer", lambda rank: in_float64, words=lambda rank: resume, ranks=(0,), count=1)
    averaged = ["--method", "averaged"]  # measured at the average, which is divided
    shard = [*averaged, "--shard"]
    carry_out("unsharded", lambda rank: nothing, averaged)
    carry_out("sharded", lambda rank: at_step(rank, 0, sent(signal.SIGKILL)), shard, restarts=1)
    carry_out("torn", lambda rank: killed_while_saving if rank == 0 else nothing, shard, restarts=1)
    longer = ["--steps", "80"]
    for name, count, words in (("whole-longer", 2, []), ("four", 4, ["--shard"]), ("one", 1, [])):
        shutil.copytree(folder / "sharded", folder / name)
        resume = ["resume", str(folder / name), *longer, "--timeout", "20", *words]
        options: dict[str, Any] = {"ranks": range(count), "count": count}
        carry_out(name, lambda rank: nothing, words=lambda rank, w=resume: w, **options)
    for name, prepare, words in (("near", nothing, []), ("far", by_gloo, ["--shard"])):
        words = ["--steps", "10", *averaged, *words]
        carry_out(name, lambda rank, p=prepare: p, words, ranks=range(4), count=4)
    carry_out("seconds", lambda rank: nothing, ["--seconds", "0.5", "--steps", "1000000"])
    carry_out("early", lambda rank: nothing, ["--stop_when", "modes_covered > -1"])
    carry_out("eager", lambda rank: no_compiler if rank else any_compiler, ["--compile", "on", "--steps", "10"])
    results["stepper"] = launched(folder, lambda rank: partial(step_together, folder), lambda rank: nothing)
    return results


def main() -> None:
    """Carry out all scenarios, or with --as-rank VICTIM one command line as a rank of torchrun's."""
    if sys.argv[1] == "--as-rank":
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            at_step(int(os.environ["RANK"]), int(sys.argv[2]), sent(signal.SIGKILL))()
        sys.exit(cli.main(sys.argv[3:]))
    for name in LATE:
        importlib.import_module(name)
    for kind in ("metrics", "objectives", "optimizers"):
        members(kind)
    folder = Path(sys.argv[1])
    (folder / "results.json").write_text(json.dumps(scenarios(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
