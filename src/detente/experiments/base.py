"""The role of an experiment: one figure of one paper, as its runs, its drawing and its claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, get_args

from detente.errors import unknown
from detente.experiments.support.interval_estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Profile = Literal["smoke", "laptop", "paper"]
PROFILES: tuple[str, ...] = get_args(Profile)
Findings = dict[str, Any]  # numbers, lists and arrays by name: all that drawing and claims look at
T = TypeVar("T")


class Track(Protocol):
    """Something that shows how far a loop has come, as a progress bar does."""

    def __call__(self, items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        """Yield the items, telling how many of `total` have passed."""
        ...


@dataclass(frozen=True)
class Claim:
    """What a paper says, in a form that can fail.

    Args:
        sentence: what is said.
        estimate: the number that decides, from the findings.
        holds: whether the number bears the sentence out.
        paper: the paper's own number, where it gave one.
    """

    sentence: str
    estimate: Callable[[Findings], Estimate]
    holds: Callable[[Estimate], bool]
    paper: str = ""


class Experiment(ABC):
    """One figure of one paper.

    A concrete experiment says what it reproduces in class variables, takes its size from `sizes`, and gives three
    answers: what was found, what it looks like, and what is claimed of it. `smoke` takes seconds and shows only that
    everything runs; `laptop` at most half an hour on two cores; `paper` is the paper's own size.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    figure: ClassVar[str]
    deviations: ClassVar[tuple[str, ...]] = ()  # from the paper, one line each
    tried: ClassVar[str] = ""  # what was tried where a claim does not hold
    claims: ClassVar[tuple[Claim, ...]]
    sizes: ClassVar[dict[str, dict[str, Any]]]  # by profile: the numbers that make it small or large

    def size(self, profile: str) -> dict[str, Any]:
        """Return the numbers of a profile.

        Raises:
            InvalidValue: there is no such profile.
        """
        if profile not in self.sizes:
            raise unknown("profile", profile, self.sizes)
        return self.sizes[profile]

    @abstractmethod
    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train and measure, and return what was found.

        Args:
            folder: where runs are written; conducted again in the same folder, it goes on where it stopped.
            track: shows how far each loop has come.
            size: the numbers of the profile.
        """

    @abstractmethod
    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the findings as the paper does."""
