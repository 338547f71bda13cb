"""The base class of experiments: one figure of one paper, with its runs, its plot and its claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, get_args

from detente.errors import unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detente.experiments.support.interval_estimate import Estimate, Rule

Profile = Literal["smoke", "laptop", "paper"]
PROFILES: tuple[str, ...] = get_args(Profile)
Findings = dict[str, Any]  # numbers, lists and arrays by name: everything that the plot and the claims use
T = TypeVar("T")


class Track(Protocol):
    """Shows the progress of a loop, as a progress bar does."""

    def __call__(self, items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and show how many of `total` are done."""
        ...


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, in a form that can fail.

    Args:
        sentence: the statement.
        estimate: computes the deciding number from the findings, of one seed or of several; the observations of seeds
            that were computed one by one are put together.
        rule: direction and threshold, by which the number's interval decides.
        paper: the paper's own number, if it gives one.
    """

    sentence: str
    estimate: Callable[[Findings], Estimate]
    rule: Rule
    paper: str = ""


class Experiment(ABC):
    """One figure of one paper.

    A subclass describes what it reproduces in class variables, takes its size from `sizes`, trains and measures in
    `conduct`, plots in `draw`, and lists the paper's statements in `claims`. The profile `smoke` takes seconds and only
    shows that everything runs; `laptop` fits two cores; `paper` has the paper's own size.

    A size with `seeds`, their number, is conducted seed by seed, each with `seeds=(seed,)`, so that seeds can be added
    until every claim is decided. `draw` gets the findings of several seeds, joined along the first axis of each array.
    A size without `seeds` is conducted once.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    figure: ClassVar[str]
    deviations: ClassVar[tuple[str, ...]] = ()  # from the paper, one sentence each
    tried: ClassVar[str] = ""  # what was tried about claims that do not hold
    # Names of findings that are the first seed's, and are not joined over the seeds.
    shared: ClassVar[tuple[str, ...]] = ("steps", "moments", "gradients", "real")
    claims: ClassVar[tuple[Claim, ...]]
    sizes: ClassVar[dict[str, dict[str, Any]]]  # by profile: the keyword arguments of `conduct`

    def size(self, profile: str) -> dict[str, Any]:
        """Return the settings of a profile.

        Raises:
            InvalidValue: there is no such profile.
        """
        if profile not in self.sizes:
            raise unknown("profile", profile, self.sizes)
        return self.sizes[profile]

    def prepare(self, folder: Path, track: Track, **size: Any) -> dict[str, Any]:
        """Return further arguments of `conduct`, computed once for all seeds; `folder` and `track` as there."""
        del folder, track, size
        return {}

    @abstractmethod
    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train and measure, and return the findings.

        Args:
            folder: where the runs are written; a second call with the same folder continues them.
            track: shows the progress of each loop.
            size: the settings of the profile, with `seeds` as a tuple, and what `prepare` returned.
        """

    @abstractmethod
    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot the findings as the paper does."""
