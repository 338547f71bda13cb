"""How ranks stay synchronised: all use rank 0's clock, and a signal to one of them stops all at the same step."""

from __future__ import annotations

from detente.ranks import Ranks
from detente.training.distributed import agreed, alone, exchanged
from detente.training.signals import Noted, interrupt_of

INTERVAL = 0.25  # seconds between two exchanges, about; a short message takes about one millisecond on gloo
MOST_CALLS = 1000  # calls without an exchange


class Pace:
    """Is called after each chunk of steps, and exchanges what ranks decide together now and then.

    Args:
        ranks: the ranks; None for a single process, which exchanges nothing.
        noted: the signals that this rank has received.
    """

    def __init__(self, ranks: Ranks | None, noted: Noted | None = None) -> None:
        self.ranks, self.noted = ranks, noted
        self._seconds, self._calls, self._next, self._signal = 0.0, 0, 1, 0

    def __call__(self, seconds: float, at_tick_end: bool) -> float:
        """Return the seconds that count: those of rank 0 since the last exchange, or 0 if there is no exchange now.

        Args:
            seconds: seconds that the last steps took on this rank.
            at_tick_end: whether the tick ends here, with an exchange in any case; the same on all ranks.

        Raises:
            KeyboardInterrupt: a rank has received a signal; all ranks raise it at the same step, unless `at_tick_end`.
        """
        if alone(self.ranks):
            return seconds
        self._seconds, self._calls = self._seconds + seconds, self._calls + 1
        if self._calls < self._next and not at_tick_end:
            return 0.0
        planned = self._calls * INTERVAL / max(self._seconds, 1e-6)
        of_this_rank = [
            float(self.noted.number if self.noted else 0),
            self._seconds,
            max(1.0, min(planned, MOST_CALLS)),
        ]
        of_ranks = exchanged(of_this_rank, self.ranks)
        self._signal = int(max(numbers[0] for numbers in of_ranks))
        if not at_tick_end:
            self.stop()
        _, seconds, following = of_ranks[0]
        self._seconds, self._calls, self._next = 0.0, 0, int(following)
        return seconds

    def stop(self) -> None:
        """Raise the signal that a rank had received at the last exchange, if any: after the tick."""
        if self._signal:
            raise agreed(interrupt_of(self._signal))
