"""Which changes to try against a GAN's failures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from detente.cures.base import Case, Change, Cure
from detente.errors import require
from detente.registry import members

STRONG = "strong_default"
LEAST = 0.1  # a cure that helps in fewer than a tenth of the cases is not worth its share of the budget
LIKELY = 0.4  # a cure that is not allowed is mentioned if it is this likely
GENERAL = 3  # with fewer candidates, general ones are added, since a race needs some
STRONG_CHANCE = 0.5  # R3GAN's settings help against most failures of training, so that they always take part
OWN_LOSSES = ("wiring", "normalisation", "blow-up", "penalty or Lipschitz bound wrong", "vanishing gradient")


@dataclass(frozen=True)
class Candidate:
    """A change that may be tried.

    Args:
        title: what it does, in words.
        change: the change.
        chance: how likely it helps, in [0, 1].
        cost: cost of a step in gradient evaluations; more with penalties.
    """

    title: str
    change: Change
    chance: float
    cost: float = 0.0

    @property
    def kind(self) -> tuple[frozenset[str], str]:
        """What the change is about: candidates of the same kind differ in numbers only."""
        names = {name for name, value in self.change.game.items() if name != "packed" or value != 1}
        return frozenset(names), self.change.method

    def then(self, other: Candidate) -> Candidate:
        """Return both in one; it fails only where both fail."""
        chance = 1 - (1 - self.chance) * (1 - other.chance)
        return Candidate(f"{self.title}; {_lowered(other.title)}", self.change.then(other.change), chance)


def candidates(
    case: Case,
    may_change_networks: bool = False,
    most: int = 4,
    affordable: Callable[[str, Change], bool] = lambda title, change: True,
) -> list[tuple[str, Change]]:
    """Return changes to try, each with a title, the cheapest first; each of them gives a game that can be trained.

    All certain cures are part of every candidate, and are one of them alone if they treat what was found. R3GAN's
    settings are always one, too. The others are the likeliest cures and pairs, no two of one kind; if too few, also
    general ones. A healthy GAN is not changed.

    Args:
        case: the GAN and what is wrong with it.
        may_change_networks: whether cures may change layers of the user's networks.
        most: largest number of candidates, ≥ 1.
        affordable: whether a run of a change, with its title, fits the budget; others do not take a place.
    """
    require(most >= 1, "most", most, "an integer ≥ 1")
    if case.findings and all(finding.failure == "healthy" for finding in case.findings):
        return []
    cures = _cures(case, may_change_networks)
    certain = [
        Candidate(cure.title, change, cure.chance(case)) for cure, change in cures.values() if cure.is_certain(case)
    ]
    base = _built(case, _joined(certain))
    alone = base if base is not None and base.chance >= LEAST else None
    first = [each for each in (alone, _built(case, _strong(case, cures, base))) if each is not None][-most:]
    likely = sorted(_alternatives(case, cures), key=lambda candidate: -candidate.chance)
    probable, general = (
        [each for each in likely if each.chance >= LEAST],
        [each for each in likely if _is_general(each)],
    )
    chosen = _diverse(case, first, base, probable, most, affordable)
    chosen = _diverse(case, chosen, base, general, min(most, GENERAL), affordable)
    return [(each.title, each.change) for each in sorted(chosen, key=lambda each: each.cost)]


def withheld(case: Case) -> list[str]:
    """Return the titles of likely cures that change layers of the networks, the likeliest first."""
    likely = [
        cure
        for cure, _ in _cures(case, may_change_networks=True).values()
        if cure.changes_networks and (cure.is_certain(case) or cure.chance(case) >= LIKELY)
    ]
    return [cure.title for cure in sorted(likely, key=lambda cure: (not cure.is_certain(case), -cure.chance(case)))]


def _diverse(
    case: Case,
    chosen: list[Candidate],
    base: Candidate | None,
    others: list[Candidate],
    most: int,
    affordable: Callable[[str, Change], bool],
) -> list[Candidate]:
    """Return the chosen candidates, and others of other kinds, in their order, up to `most`."""
    chosen = [*chosen]
    for candidate in others:
        if len(chosen) >= most:
            break
        joined = candidate if base is None else base.then(candidate)
        known = any(joined.kind == other.kind for other in chosen)
        built = None if known else _built(case, joined)
        if built is not None and affordable(built.title, built.change):
            chosen.append(built)
    return chosen


def _is_general(candidate: Candidate) -> bool:
    """Whether a candidate helps against failures of most kinds."""
    return candidate.change.method == "averaged" and {*candidate.change.game} <= {"penalties", "packed"}


def _cures(case: Case, may_change_networks: bool) -> dict[str, tuple[Cure, Change]]:
    """Return the cures that apply, by name, with their changes."""
    cures_by_name: dict[str, tuple[Cure, Change]] = {}
    for name, kind in members("cures").items():
        cure = kind()
        if cure.changes_networks and not may_change_networks:
            continue
        change = cure(case)
        if change is not None and (change.game or change.method):
            cures_by_name[name] = (cure, change)
    return cures_by_name


def _alternatives(case: Case, cures: Mapping[str, tuple[Cure, Change]]) -> list[Candidate]:
    """Return single cures, with rates that suit the networks where the method's own are off, and pairs."""
    single = {
        name: Candidate(cure.title, change, cure.chance(case))
        for name, (cure, change) in cures.items()
        if not cure.is_certain(case) and name != STRONG
    }
    rates, candidates = single.get("balanced_rates"), []
    for name, candidate in single.items():
        if name == "batches_apart" or candidate.change.method or rates is None or not case.rates_are_off:
            candidates.append(candidate)
        elif candidate.chance >= LEAST or name == "r1_penalty":
            candidates.append(replace(rates.then(candidate), title=f"{candidate.title}, with suitable learning rates"))
    if rates is not None:
        for name in ("r1_penalty", "spectral_normalisation", "input_noise", "averaged_generator"):
            other = single.get(name)
            if other is not None and (other.chance >= LEAST or name == "r1_penalty"):
                candidates.append(rates.then(other) if not other.change.method else other)
    if (apart := single.get("batches_apart")) is not None and rates is not None and case.rates_are_off:
        candidates.append(_renamed(case, apart.then(rates)))
    return candidates


def _strong(case: Case, cures: Mapping[str, tuple[Cure, Change]], base: Candidate | None) -> Candidate | None:
    """Return R3GAN's settings, after the certain cures; with losses of ours where the user's are at fault."""
    if STRONG not in cures:
        return None
    cure, change = cures[STRONG]
    strong = Candidate(cure.title, change, max(STRONG_CHANCE, cure.chance(case)))
    at_fault = max(case.sure(failure) for failure in OWN_LOSSES) >= 0.5
    if case.own_losses and at_fault and "batches_apart" in cures:
        with_losses = replace(change, game={**change.game, "separate": True, "objective": "relativistic"})
        replaced = _renamed(case, replace(strong, change=with_losses))
        joined = replaced if base is None else base.then(replaced)
        if _built(case, joined) is not None:
            return joined
    return strong if base is None else base.then(strong)


def _renamed(case: Case, candidate: Candidate) -> Candidate:
    """Return a candidate for players that are called "generator" and "discriminator", as in a game of ours."""
    names = {case.gan.generator: "generator", case.gan.discriminator: "discriminator"}

    def renamed(value: Any) -> Any:
        return {names[key]: item for key, item in value.items() if key in names} if isinstance(value, dict) else value

    settings = {name: renamed(value) for name, value in candidate.change.settings.items()}
    return replace(candidate, change=replace(candidate.change, settings=settings))


def _joined(certain: list[Candidate]) -> Candidate | None:
    if not certain:
        return None
    first, *others = certain
    for other in others:
        first = first.then(other)
    return first


def _built(case: Case, candidate: Candidate | None) -> Candidate | None:
    """Return the candidate with its cost, or None if its game or its method refuses."""
    if candidate is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            game, method = candidate.change.apply(case.game, case.method)
            method = method.playing(game)
            method.check(game)
            cost = float(method.gradient_evaluations(game))
    except Exception:  # noqa: BLE001  # a user's networks may refuse in any way
        return None
    twice = 1.5 if candidate.change.game.get("penalties") else 1.0  # a penalty's gradient is differentiated again
    return replace(candidate, cost=cost * twice)


def _lowered(title: str) -> str:
    return title[:1].lower() + title[1:] if title[1:2].islower() else title
