"""Whether torchrun's processes continue a run that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from detente.cli.ranks import continues
from detente.training.run_directory import lock

OPTIONS = {"game": "ring", "steps": 4}
FOREIGN = {"pid": 1, "host": "another", "boot": "another", "since": "yesterday"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A run that a job named j7 left unfinished, on a machine that is lost."""
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**OPTIONS, "ranks": 2, "launch": "j7"}), encoding="utf-8")
    status = {"seeds": {"0": {"status": "running"}}}
    (tmp_path / "status.json").write_text(json.dumps(status), encoding="utf-8")
    (tmp_path / lock.FILE).write_text(json.dumps(FOREIGN), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("count", "job", "resume", "goes_on"),
    [
        ("0", "none", False, False),
        ("0", "another", False, False),
        ("0", "j7", False, True),  # the machine that failed was replaced
        ("1", "none", False, True),
        ("0", "none", True, True),
    ],
)
def test_a_run_goes_on_after_a_restart_or_if_that_is_wished(
    directory: Path, monkeypatch: pytest.MonkeyPatch, count: str, job: str, resume: bool, goes_on: bool
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    assert continues(directory, OPTIONS, None, resume) is goes_on
    assert not continues(directory, {**OPTIONS, "steps": 5}, None, resume)  # another run
    assert (directory / lock.FILE).exists() is (resume or not goes_on)  # only torchrun knows that the machine is lost


def test_a_finished_run_of_the_same_job_can_be_replaced(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "j7")
    assert continues(directory, OPTIONS, None, overwrite=True)  # else a restart would lose what was trained
    status = {"seeds": {"0": {"status": "finished"}}}
    (directory / "status.json").write_text(json.dumps(status), encoding="utf-8")
    assert not continues(directory, OPTIONS, None, overwrite=True)
    assert continues(directory, OPTIONS, None)
