"""The code of docs/networks.md runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")


def test_the_page_runs() -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, "networks.md", "exec"), names)
    assert len(blocks) == 5
    assert isinstance(names["trained"], names["Autoencoder"]) and not names["trained"].training
    assert names["cycle_game"].players == ("generators", "judges")
    stepper = names["detente"].Stepper(names["game"], names["methods"].alternating())
    assert stepper.sample(5).shape == (5, 1, 16, 16)
    assert all(torch.isfinite(tensor).all() for tensor in stepper.state.vectors.values())
