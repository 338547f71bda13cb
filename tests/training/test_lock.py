"""A directory is held by one process at a time, and a lock whose holder is gone is free."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detente import errors
from detente.training.run_directory.lock import DirectoryLock, holder_of

HOLD = """
import sys, time
from pathlib import Path
from detente.training.run_directory.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holding(directory: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_error_for_a_second_holder_names_the_first(tmp_path: Path) -> None:
    process = holding(tmp_path)
    try:
        with pytest.raises(errors.InvalidValue, match=rf"Process {process.pid} on \S+ has been writing into it since"):
            DirectoryLock(tmp_path)
        holder = holder_of(tmp_path)
        assert holder is not None and holder["pid"] == process.pid
    finally:
        process.communicate()
    assert holder_of(tmp_path) is None


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = holding(tmp_path)
    process.kill()
    process.communicate()
    assert (tmp_path / "lock").exists(), "a killed process cannot remove it"
    assert holder_of(tmp_path) is None
    DirectoryLock(tmp_path).release()
    assert not (tmp_path / "lock").exists()


def test_a_second_holder_in_one_process_is_refused(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        with pytest.raises(errors.InvalidValue, match=f"Process {os.getpid()}"):
            DirectoryLock(tmp_path)
    DirectoryLock(tmp_path).release()


def test_a_lock_of_another_machine_is_not_taken(tmp_path: Path) -> None:
    other = {"pid": 4, "host": "elsewhere", "boot": "another kernel", "since": "2026-01-01 00:00:00"}
    (tmp_path / "lock").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(errors.InvalidValue, match="Process 4 on elsewhere .* delete .*lock"):
        DirectoryLock(tmp_path)
    assert holder_of(tmp_path) == other


def test_a_lock_from_before_a_reboot_is_free(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        content = json.loads((tmp_path / "lock").read_text(encoding="utf-8"))
    (tmp_path / "lock").write_text(json.dumps({**content, "boot": "the start before this"}), encoding="utf-8")
    DirectoryLock(tmp_path).release()


@pytest.mark.parametrize("content", ["", "not json", "[]"])
def test_an_empty_or_damaged_lock_is_free(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content, encoding="utf-8")
    DirectoryLock(tmp_path).release()
