"""Trains from the command line in forked children and kills them: `python -m tests.training.killed FOLDER SEED KILLS`.

Everything is imported once, before any fork and without a thread, so that a child starts in no time. A run is killed
at a random moment of its training and again at random moments of its resumptions, until it ends.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch.utils.tensorboard  # noqa: F401

import detente.cli.commands.resume
import detente.cli.commands.train  # noqa: F401
from detente import cli

GAMES = {
    "bilinear": ["--game", "bilinear", "--game.dimension", "3", "--steps", "80"],
    "ring": ["--game", "ring", "--game.width", "4", "--game.depth", "1", "--game.batch", "8", "--steps", "40"],
}
SETTINGS = "--method optimistic --seeds 0 1 --record_every 4 --measure_every 20 --checkpoint_every 8 --samples 8"


def started(words: list[str], log: Path) -> int:
    """Return the process id of a child that carries out a command line."""
    child = os.fork()
    if child:
        return child
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os._exit(cli.main(words))


def ended(child: int) -> int:
    """Return the exit status of a child, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(child: int, moment: float) -> bool:
    """Kill a child some seconds after its start; return whether it was still alive."""
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    return ended(child) == -signal.SIGKILL


def main(folder: Path, seed: int, kills: int) -> None:
    """Train every game undisturbed, then again and again with kills."""
    moments, log = random.Random(seed), folder / "log.txt"
    for game, words in GAMES.items():
        train = ["train", *words, *SETTINGS.split()]
        start = time.monotonic()
        if status := ended(started([*train, "--out", str(folder / f"{game}-whole")], log)):
            sys.exit(f"the undisturbed run ended with {status}: {log.read_text()}")
        duration = time.monotonic() - start
        remaining, attempt = kills // len(GAMES), 0
        while remaining:
            directory = folder / f"{game}-{attempt}"
            child = started([*train, "--out", str(directory)], log)
            while remaining:
                remaining -= killed(child, moments.uniform(0, duration))
                resume = (directory / "run.yaml").exists()
                words = ["resume", str(directory)] if resume else [*train, "--out", str(directory)]
                child = started(words, log)
                if moments.random() < 0.5:
                    break
            if status := ended(child):
                sys.exit(f"{directory} ended with {status}: {log.read_text()}")
            attempt += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
