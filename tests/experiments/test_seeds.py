"""Seeds one by one: added until decided, interrupted, killed, and conducted by several processes."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import pytest

from detente.errors import InvalidValue
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.sgan.sgan_two_discriminators import SganTwoDiscriminators as Tested
from detente.experiments.support import code_hash as hashing
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.reproduction import Outcome, blocks_of_seeds
from detente.experiments.support.seeds import OutOfTime, SeedFolder, Stopwatch, join
from detente.experiments.support.worker_processes import WorkerProcesses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


def no_progress(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


class Coins(Experiment):
    """Draws one number per seed."""

    title = "Coins"
    paper = "nobody"
    figure = "none"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {name: {"seeds": 3, "mean": 1.0} for name in ("smoke", "laptop")}
    claims = (
        Claim("It is positive", lambda findings: Estimate.median(findings["number"]), above(0)),
        Claim("… in most seeds", lambda findings: Estimate.share(findings["number"] > 0), above(50)),
    )
    conducted: ClassVar[list[int]] = []

    def prepare(self, folder: Path, track: Track, **size: Any) -> dict[str, Any]:
        assert "seeds" not in size and not folder.exists()
        return {"shift": 10.0}

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        (seed,) = size["seeds"]
        self.conducted.append(seed)
        for _ in track(range(2), "draws", total=2):
            number = size["mean"] + size["shift"] + np.random.default_rng(seed).standard_normal(1)
        return {"number": number, "steps": np.arange(4)}  # pyright: ignore[reportPossiblyUnboundVariable]

    def draw(self, findings: Findings, figure: Figure) -> None:
        figure.add_subplot().plot(findings["number"])
        assert len(findings["steps"]) == 4


@pytest.fixture(autouse=True)
def known_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detente.experiments.support.reproduction.name_of", lambda kind: kind.__name__)
    Coins.conducted.clear()


def blocks(folder: Path, **options: Any) -> Iterator[Outcome]:
    settings = {"until_decided": True, "block": 2, "most_seeds": 50, **options}
    return blocks_of_seeds(Coins(), "laptop", folder, no_progress, **settings)


def test_seeds_are_added_in_blocks_until_every_claim_is_decided(tmp_path: Path) -> None:
    outcomes = list(blocks(tmp_path))
    assert [len(outcome.seeds) for outcome in outcomes] == [2, 4, 6, 8]  # seven of the same sign decide
    assert [outcome.undecided for outcome in outcomes] == [2, 2, 2, 0]
    assert outcomes[-1].seeds == tuple(range(100, 108)) == tuple(Coins.conducted)
    assert Outcome.read(tmp_path / "outcome.json") == outcomes[-1]
    lines = [json.loads(line) for line in (tmp_path / "seeds.jsonl").read_text().splitlines()]
    assert (tmp_path / "seeds" / "00107.json").read_text() == json.dumps(lines[-1]) + "\n"
    assert [line["seed"] for line in lines] == list(outcomes[-1].seeds) and lines[0]["observations"][1] == [1.0]
    assert list(blocks(tmp_path)) == [outcomes[-1]] and len(Coins.conducted) == 8  # decided already
    assert not list(tmp_path.glob("working/*"))


def test_the_maximum_number_of_seeds_is_not_exceeded(tmp_path: Path) -> None:
    assert [len(outcome.seeds) for outcome in blocks(tmp_path, block=4, most_seeds=5)] == [4, 5]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutOfTime, RuntimeError])
def test_finished_seeds_survive_an_interruption(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        for item in items:
            if len(Coins.conducted) == 3:
                raise error
            yield item

    with pytest.raises(error):
        list(blocks_of_seeds(Coins(), "laptop", tmp_path, fail, True, 5, 50))
    assert Outcome.read(tmp_path / "outcome.json").seeds == (100, 101)
    assert (tmp_path / "working" / "00102").exists()
    assert next(blocks(tmp_path)).seeds == (100, 101)
    assert list(blocks(tmp_path))[-1].seeds == tuple(range(100, 108))


def test_a_deadline_stops_within_a_seed(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime):
        list(blocks(tmp_path, deadline=time.time() - 1))
    assert Coins.conducted == [100] and not (tmp_path / "outcome.json").exists()


def test_seconds_of_all_sessions_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    for seconds in (5.0, 7.0):
        with Stopwatch(tmp_path):
            clock[0] += seconds
    assert Stopwatch(tmp_path).earlier_seconds == 12


def test_results_of_other_code_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next(blocks(tmp_path))
    monkeypatch.setitem(Coins.sizes, "laptop", {"seeds": 3, "mean": 2.0})
    with pytest.raises(InvalidValue, match="out.*Claims may not change"):
        next(blocks(tmp_path))


def test_the_hash_depends_only_on_code_that_affects_results(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).read_text(encoding="utf-8").partition("@pytest.fixture")[0]
    declaration = "class Coins(Experiment):"
    source = source.replace(declaration, f"def drawn() -> int:\n    return 1\n\n\nSIZE = 1\n\n\n{declaration}")
    source = source.replace(".standard_normal(1)", ".standard_normal(SIZE)").replace(".plot(", ".plot(drawn(), ")

    def hash_of(old: str, new: str) -> str:
        assert old in source
        monkeypatch.setattr(hashing.inspect, "getsource", lambda module: source.replace(old, new))
        return hashing.code_hash(Coins, "laptop")

    same = hash_of("Draws one number", "Draws one number")
    assert len(same) == 12 and hash_of("Draws one number", "Draws a number") == same
    assert hash_of('paper = "nobody"', 'paper = "somebody"') == same
    assert hash_of("class Coins", "NEW_DEVIATION = 'none'\n\n\nclass Coins") == same
    assert hash_of("import signal", "import shutil") == same
    assert hash_of(".plot(drawn()", ".scatter(drawn()") == same and hash_of("return 1", "return 2") == same
    assert hash_of("above(50)", "above(60)") != same
    assert hash_of("It is positive", "It is greater than zero") != same
    assert hash_of("SIZE = 1", "SIZE = 2") != same


def test_findings_are_joined_along_the_seeds() -> None:
    parts = [{"a": np.full((1, 2), seed), "b": [seed], "steps": np.arange(3), "c": {"d": seed}} for seed in (1.0, 2.0)]
    joined = join(parts, ("steps",))
    assert joined["a"].tolist() == [[1, 1], [2, 2]] and joined["b"] == [1, 2] and joined["c"] == {"d": 1}
    assert joined["steps"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("killed", [False, True])
def test_several_processes_give_the_same_numbers_as_one(tmp_path: Path, killed: bool) -> None:
    """Two processes conduct seeds as one does; killed with SIGKILL between two seeds, the work is continued."""
    (alone,) = blocks_of_seeds(Tested(), "smoke", tmp_path / "alone", no_progress, False, 4, 4)
    folder = tmp_path / "other"
    if killed:
        words = "reproduce sgan_two_discriminators --profile smoke --until decided --max-seeds 4 --out".split()
        process = subprocess.Popen([sys.executable, "-m", "detente", *words, str(folder)], stdout=subprocess.DEVNULL)
        while not list(folder.glob("seeds/*.json")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0)  # 0 if this process was too slow to kill it in time
        results = {path: path.read_bytes() for path in folder.glob("seeds/*.json")}
        assert 1 <= len(results) <= 4 and len(json.loads((folder / "sittings.json").read_text())) == 1
        *_, outcome = blocks_of_seeds(Tested(), "smoke", folder, no_progress, False, 4, 4)
        assert {path: path.read_bytes() for path in results} == results
    else:
        with WorkerProcesses(2) as workers:
            (outcome,) = blocks_of_seeds(Tested(), "smoke", folder, no_progress, False, 4, 4, workers.conduct)
    assert outcome.claims == alone.claims and outcome.seeds == (100, 101, 102, 103)


def test_nan_and_infinity_are_stored(tmp_path: Path) -> None:
    """NaN and ∞ survive the files."""

    class Unknown(Coins):
        claims = (Claim("?", lambda findings: Estimate.median([math.nan, math.inf, 1.0]), above(0)),)

    store = SeedFolder(Unknown(), "laptop", tmp_path)
    store.conduct(100, {"shift": 0.0}, no_progress)
    (estimate,) = store.estimates()
    assert math.isnan(estimate.observations[0]) and estimate.observations[1] == math.inf and estimate.count == 3
