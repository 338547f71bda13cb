"""Processes are replaced when they die, can be stopped, and see one GPU each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detente.errors import InvalidValue
from detente.executors.base import Ended, Executor, Session, carry_out
from detente.executors.here import Here
from detente.executors.processes import Processes, visible_devices
from detente.registry import members
from tests.executors import tasks


def until_the_end(session: Session, count: int) -> dict[str, Ended]:
    ended: dict[str, Ended] = {}
    while len(ended) < count:
        ended |= {end.key: end for end in session.wait(1.0)}
    return ended


def test_a_killed_task_is_restarted_at_most_three_times(tmp_path: Path) -> None:
    twice, always = tmp_path / "twice", tmp_path / "always"
    with Processes(workers=2).open(tmp_path) as session:
        assert session.capacity == 2
        session.submit("twice", tasks.die, (twice, 2))
        session.submit("always", tasks.die, (always, 99))
        ended = until_the_end(session, 2)
        session.submit("other", tasks.write, (tmp_path / "other", "done"))
        session.submit("wrong", tasks.fail, "text")
        ended |= until_the_end(session, 2)
    assert ended["twice"] == Ended("twice") and twice.read_text() == "xxx"
    assert ended["always"].status == "failed" and "ended 3 times without an error message" in ended["always"].error
    assert always.read_text() == "xxx"
    assert ended["other"] == Ended("other") and (tmp_path / "other").read_text() == "done"
    assert ended["wrong"] == Ended("wrong", "failed", "RuntimeError: two lines of text")


@pytest.mark.parametrize("executor", [Here(), Processes(workers=1)])
def test_running_tasks_save_their_work_when_the_session_is_closed(executor: Executor, tmp_path: Path) -> None:
    path = tmp_path / "work"
    with executor.open(tmp_path) as session:
        session.submit("work", tasks.wait_for_the_end, path)
        while not path.with_suffix(".begun").exists():
            assert session.wait(0.05) == []
    assert path.read_text() == "saved"
    assert carry_out("work", tasks.wait_for_the_end, path) == Ended("work")


def test_here_runs_tasks_one_after_the_other(tmp_path: Path) -> None:
    with Here().open(tmp_path) as session:
        assert session.wait(0.0) == [] and session.capacity == 1
        session.submit("wrong", tasks.fail, "text")
        session.submit("right", tasks.write, (tmp_path / "other", "done"))
        assert [end for _ in range(6) for end in session.wait(0.0)] == [
            Ended("wrong", "failed", "RuntimeError: two lines of text"), Ended("right"),
        ]  # fmt: skip


def test_a_task_can_be_stopped(tmp_path: Path) -> None:
    answers = iter([False, True])
    assert carry_out("a", tasks.wait_for_the_end, tmp_path / "work", lambda: next(answers)) == Ended("a", "stopped")
    assert (tmp_path / "work").read_text() == "saved"


def test_processes_share_the_visible_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_devices() == ["3", "5"]
    session: Any = Processes(workers=3).open(tmp_path)
    assert [worker.device for worker in session.workers] == ["3", "5", "3"]
    assert Processes().open(tmp_path).capacity == 2


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("processes", {"workers": 0}, "workers"),
        ("processes", {"threads": 0}, "threads"),
        ("ray", {"gpus": -1}, "gpus"),
        ("ray", {"cpus": 0}, "cpus"),
        ("ray", {"workers": 0}, "workers"),
        ("slurm", {"workers": 0}, "workers"),
    ],
)
def test_settings_are_checked_when_an_executor_is_built(name: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        members("executors")[name](**settings)
    assert caught.value.field == field


def test_a_missing_package_gives_a_one_line_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, package, extra in (("ray", "ray", "ray"), ("slurm", "submitit", "slurm")):
        with pytest.raises(InvalidValue) as caught:
            members("executors")[name]().check()
        message = str(caught.value)
        assert package in message and f'pip install "detente[{extra}]"' in message and "\n" not in message
