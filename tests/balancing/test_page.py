"""The page docs/discriminator.md: its Python code runs unchanged, and the names in its table exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import torch

from detente import balancing, methods
from detente.registry import members

PAGE = (Path(__file__).parents[2] / "docs" / "discriminator.md").read_text(encoding="utf-8")


def test_the_code_runs_in_one_session(capsys: Any) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            exec(compile(block, "docs/discriminator.md", "exec"), namespace)
    assert "'l1'" in capsys.readouterr().out
    stepper = namespace["stepper"]
    assert float(stepper.step().terms["autoencoder"]["adversarial"]) == 0.0, "before the start"
    while int(stepper.state.t) < 8:
        info = stepper.step()
    assert float(info.terms["autoencoder"]["adversarial"]) != 0.0
    weight = 1 - 0.99 ** int(stepper.state.t)
    torch.testing.assert_close(float(stepper.state.buffers["memory"]["anchors"][2]), weight, rtol=1e-5, atol=0)


def test_names_in_the_table() -> None:
    table = PAGE.partition("| --- |")[2].partition("\n\n")[0]
    known = {
        member.__name__
        for kind in ("objectives", "penalties", "filters", "networks")
        for member in members(kind).values()
    }
    known |= {"Linear", "Cosine", *vars(balancing), *methods.names(), "feature_matching"}
    used = {
        name
        for call in re.findall(r"`([^`]+)`", table)
        for name in re.findall(r"(?:^|[.(])([A-Za-z]\w+)(?=\(|$)", call)
    }
    assert len(used) > 12 and used <= known, used - known
    assert importlib.import_module("detente.balancing").Balancer
