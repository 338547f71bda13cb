"""docs/metrics.md: its metric runs from the command line, and its examples are valid."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from detente import cli
from detente.metrics.selection import metrics_by_label

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [text for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S) if name == language]


def test_the_metric_of_the_page_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = [text for text in blocks("python") if text.startswith("# my_module.py")]
    (tmp_path / "my_module.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    small = ["--game.width", "4", "--game.depth", "1", "--samples", "50", "--measure_every", "100", "--compile", "off"]
    (commands,) = [text for text in blocks("") if "my_module.SpreadRatio" in text]
    train, evaluate = (shlex.split(line)[1:] for line in commands.splitlines())
    assert cli.main([*train, *small]) == 0 and cli.main(evaluate) == 0
    last = json.loads(Path("runs/mine/metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    described = json.loads(Path("runs/mine/metrics.json").read_text(encoding="utf-8"))
    assert last["step"] == 200 and 0 < last["metrics"]["spread_ratio"] < 100
    assert last["metrics"]["spread_ratio:real=2000"] == pytest.approx(last["metrics"]["spread_ratio"], rel=0.5)
    assert described["spread_ratio:real=2000"]["stamp"] == {"samples": 5000}
    sys.modules.pop("my_module", None)


def test_names_on_the_page_are_metrics() -> None:
    words = [word for text in blocks("") for line in text.splitlines() if "--metrics" in line for word in [line]]
    for line in words:
        named = shlex.split(line.partition(" --metrics ")[2], comments=True)
        names = [name for name in named[: next((i for i, w in enumerate(named) if w.startswith("--")), None)]]
        assert names
        metrics_by_label([name for name in names if not re.search(r"my_\w+\.", name)])
