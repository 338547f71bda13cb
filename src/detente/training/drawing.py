"""The random input of the steps to come: drawn when it is wanted, or while the step before is carried out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.data.prepared import Rows
from detente.state import State
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.step import Draw, draw


class Drawing:
    """Draws one seed's random input, step by step, from a generator of its own.

    Args:
        run: what is trained.
        start: where its seed stands.
        ahead: a thread that draws what comes next, or None to draw when it is wanted.
    """

    def __init__(self, run: Run, start: Progress, ahead: Executor | None = None) -> None:
        self.run, self.ahead = run, ahead
        self.generator = torch.Generator()
        self.generator.set_state(start.random)
        self._coming: deque[Future[tuple[Draw, Tensor]]] = deque()

    def take(self, state: State, count: int) -> tuple[list[Draw], Tensor]:
        """Return the input of the next `count` steps, and the generator's state after them and before all later ones.

        Args:
            state: where the seed stands; only its shapes and its device matter.
            count: how many steps, ≥ 1.
        """
        if self.ahead is None:
            inputs = [self._drawn(state) for _ in range(count)]
        else:
            self._order(self.ahead, state, count)
            inputs = [self._coming.popleft().result() for _ in range(count)]
            self._order(self.ahead, state, count)
        return [draw_of_step for draw_of_step, _ in inputs], inputs[-1][1]

    def _order(self, ahead: Executor, state: State, count: int) -> None:
        while len(self._coming) < count:
            self._coming.append(ahead.submit(self._drawn, state))

    def _drawn(self, state: State) -> tuple[Draw, Tensor]:
        return draw(self.run.game, self.run.method, state, self.generator), self.generator.get_state()


@contextmanager
def drawings(run: Run, progress: Sequence[Progress]) -> Iterator[dict[int, Drawing]]:
    """What draws each seed's input, for a graphics processor from a set on disk ahead of the step that wants it.

    Not where a field looks at the whole set between steps: it may draw from the same generator first.
    """
    if not pays(run) or run.method.field.prepares:
        yield {seed_progress.seed: Drawing(run, seed_progress) for seed_progress in progress}
        return
    thread = ThreadPoolExecutor(1, "detente-drawing")
    try:
        yield {seed_progress.seed: Drawing(run, seed_progress, thread) for seed_progress in progress}
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


def pays(run: Run) -> bool:
    """Return whether a step leaves the processor free to draw the next one's samples from a memory-mapped file.

    Measured with batches of 64 images of 64 by 64: where a step is 6 ms of waiting for a device, drawing ahead takes
    the whole from 11 to 8 ms; where it is 6 ms of the processor's own work, from 11 to 15.
    """
    data = getattr(run.game, "data", None)
    on_disk = isinstance(data, StoredData) and isinstance(data.arrays[0], (np.memmap, Rows))
    return on_disk and torch.device(run.device).type != "cpu"
