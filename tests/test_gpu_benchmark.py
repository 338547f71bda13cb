"""The program behind benchmarks/gpu.sh: its computations, and findings that survive errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import findings as findings_module
from benchmarks.gpu import games, resume
from benchmarks.gpu.findings import Finding, Findings
from benchmarks.gpu.page import Outcome, text
from benchmarks.timing import Timing
from detente import methods
from detente.state import State

CPU = torch.device("cpu")


def test_findings_survive_a_stop_in_the_middle_of_a_line(tmp_path: Path) -> None:
    findings = Findings("cpu", tmp_path / "found.jsonl")
    findings.add("one", "1.0", "at most 2", True, "detail")
    findings.add_difference("two", 0.5, 0.1)
    with findings.catch_errors("three"):
        raise ValueError("first\nsecond")
    with findings.path.open("a", encoding="utf-8") as file:
        file.write('{"what": "cut')
    read = findings_module.read(findings.path)
    assert [finding.what for finding in read] == ["one", "two", "three"]
    assert [finding.reached for finding in read] == [True, False, False]
    assert read[2].measured == "ValueError: first second"


def test_relative_differences() -> None:
    expected, actual = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    assert games.relative_difference(expected, actual) == pytest.approx(0.1)
    assert games.relative_difference(expected, torch.tensor([3.0, float("nan")])) == float("inf")
    first, second = (State(torch.tensor(0), {"x": expected, "y": last}) for last in (expected, actual))
    assert games.largest_difference(first, second) == pytest.approx(0.1)


def test_states_from_the_same_random_numbers_are_compared() -> None:
    """The same device twice gives the same bits, for methods that draw in preparing, in schemes and in optimizers."""
    game = games.finite_ring(torch.float64)
    for name in ("svre_restarted", "accept_reject", "sgld"):
        assert games.device_difference(game, methods.names()[name](), CPU, 2) == 0.0


def test_a_difference_in_one_step_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = games.step_on_device
    calls: list[int] = []

    def disturbed(game, method, state, generator, device):  # noqa: ANN001, ANN202
        calls.append(len(calls))
        after = taken(game, method, state, generator, device)
        if len(calls) == 4:  # the second step there
            after.vectors["generator"] = after.vectors["generator"] + 1e-6
        return after

    monkeypatch.setattr(games, "step_on_device", disturbed)
    distance = games.device_difference(games.finite_ring(torch.float64), methods.simultaneous(), CPU, 2)
    assert 1e-7 < distance < 1e-4


def test_checkpoints_are_compared_by_bits() -> None:
    whole = {"a": torch.ones(2), "b": torch.tensor([3.0, 4.0])}
    assert resume._differences(whole, {name: tensor.clone() for name, tensor in whole.items()}) == (0, 0.0)
    different, distance = resume._differences(whole, {**whole, "b": torch.tensor([3.0, 4.5])})
    assert different == 1 and distance == pytest.approx(0.1)
    with pytest.raises(RuntimeError, match="other tensors"):
        resume._differences(whole, {"a": torch.ones(2)})


def test_times_of_graphs_of_several_steps_are_shares_of_the_loop(tmp_path: Path) -> None:
    from benchmarks.gpu.speed import add_times

    findings = Findings("cpu", tmp_path / "found.jsonl")
    sizes = {"loop": 1, "compiled, 10 steps a graph": 10, "compiled, 1 step a graph": 1}
    # Twenty steps of each in a unit: two calls of the graph of ten.
    seconds = {"loop": [2.0] * 3, "compiled, 10 steps a graph": [0.5] * 3, "compiled, 1 step a graph": [1.9] * 3}
    add_times(findings, Timing(seconds, {}), 20, sizes, "ring")
    loop, tenfold, single = findings_module.read(findings.path)
    assert loop.measured == "100 ms a step"
    assert tenfold.measured.startswith("0.25 ") and tenfold.reached and tenfold.detail == "25 ms a step"
    assert single.measured.startswith("0.95 ") and single.reached is False


def test_the_page_contains_every_finding() -> None:
    rows = [Finding("a | b", "1", "at most 2", True, "x"), Finding("c", "3", "at most 2", False)]
    outcomes = {"one": Outcome("First", "done", 3.0, rows), "two": Outcome("Second", "stopped after 9 s: out of time")}
    page = text({"device": "none"}, outcomes)
    assert "| a \\| b | 1 | at most 2 | reached | x |" in page
    assert "**missed**" in page and "1 checks hold, 1 do not" in page
    assert "**stopped after 9 s: out of time**" in page and "## First" in page


SCRIPTS = {  # what a section's process does in the place of the real one, given the path of its findings
    "methods": "open(path, 'a').write(line)",
    "memory": "import os; open(path, 'a').write(line); os.kill(os.getpid(), 9)",
    "networks": "import threading; open(path, 'a').write(line); threading.Event().wait()",
}


def test_a_section_that_crashes_or_hangs_leaves_its_findings_and_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conductor = program.Conductor(list(SCRIPTS), "cuda", 1.0, tmp_path / "out", tmp_path)

    def start(name: str) -> None:
        path, line = str(tmp_path / f"{name}.jsonl"), json.dumps(vars(Finding(name, "1", "", True))) + "\n"
        code = f"path, line = {path!r}, {line!r}; {SCRIPTS[name]}"
        conductor.outcomes[name].status, conductor.starts[name] = "running", time.monotonic()
        conductor.processes[name] = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        until = time.monotonic() + 30
        while not os.path.exists(path) and time.monotonic() < until:  # written before the deadline begins
            os.sched_yield()

    monkeypatch.setattr(conductor, "start", start)
    monkeypatch.setattr(program, "PREPARING", 1.0)
    assert conductor.conduct() == 1
    content = json.loads((tmp_path / "out" / "gpu.json").read_text(encoding="utf-8"))["sections"]
    assert content["methods"]["status"] == "done"
    assert content["memory"]["status"] == "ended with status -9"
    assert content["networks"]["status"].endswith("out of time")
    for name in SCRIPTS:
        assert [finding["what"] for finding in content[name]["findings"]] == [name]
    page = (tmp_path / "out" / "benchmarks-gpu.md").read_text(encoding="utf-8")
    assert "3 checks hold, 0 do not" in page


def test_every_section_exists() -> None:
    import importlib

    for plan in program.SECTIONS.values():
        module, _, function = plan.where.partition(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function))
