"""Killed at any moment, a run resumes from its last whole checkpoint and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.training.killed import GAMES
from tests.training.small_runs import assert_same_bits, lines, saved

ROOT = Path(__file__).parents[2]
KILLS = 20


def test_a_run_killed_at_random_moments_ends_the_same(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.training.killed", str(tmp_path), "20170601", str(KILLS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    completed = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert completed.returncode == 0, completed.stderr
    for game in GAMES:
        whole = tmp_path / f"{game}-whole"
        others = [path for path in tmp_path.glob(f"{game}-*") if path != whole]
        assert others
        for path in others:
            assert_same_bits(saved(path), saved(whole))
            assert lines(path) == lines(whole)
            status = json.loads((path / "status.json").read_text(encoding="utf-8"))
            assert {seed["status"] for seed in status["seeds"].values()} == {"finished"}
            assert not list(path.rglob("*.tmp"))
            samples = [sorted(p.name for p in (d / "samples").glob("*")) for d in (path, whole)]
            assert samples[0] == samples[1]
