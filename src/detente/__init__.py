"""détente: train GANs and other differentiable games."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from detente import deprecated

if TYPE_CHECKING:
    from detente.comparison.compare import compare as compare
    from detente.comparison.search import search as search
    from detente.errors import InvalidValue as InvalidValue
    from detente.game import Game as Game
    from detente.games.adversarial import Adversarial as Adversarial
    from detente.games.conditional import Conditional as Conditional
    from detente.games.networks import Networks as Networks
    from detente.methods.method import Method as Method
    from detente.ranks import batch_mean as batch_mean
    from detente.rescuing.rescue import rescue as rescue
    from detente.state import Info as Info
    from detente.state import State as State
    from detente.training.distributed import joined as joined
    from detente.training.export import export as export
    from detente.training.export import load_exported as load_exported
    from detente.training.loop import train as train
    from detente.training.run import Run as Run
    from detente.training.run_directory.evaluation import evaluate as evaluate
    from detente.training.stepper import Stepper as Stepper

__version__ = "0.1.0"

# Imported on first use, because the report reads run directories without importing torch.
_MODULES = {
    "Adversarial": "games.adversarial",
    "Conditional": "games.conditional",
    "Game": "game",
    "Info": "state",
    "InvalidValue": "errors",
    "Method": "methods.method",
    "Networks": "games.networks",
    "Run": "training.run",
    "State": "state",
    "Stepper": "training.stepper",
    "batch_mean": "ranks",
    "compare": "comparison.compare",
    "evaluate": "training.run_directory.evaluation",
    "export": "training.export",
    "joined": "training.distributed",
    "load_exported": "training.export",
    "rescue": "rescuing.rescue",
    "search": "comparison.search",
    "train": "training.loop",
}
__all__ = [  # a literal list, which type checkers and editors require
    "Adversarial",
    "Conditional",
    "Game",
    "Info",
    "InvalidValue",
    "Method",
    "Networks",
    "Run",
    "State",
    "Stepper",
    "__version__",
    "batch_mean",
    "compare",
    "evaluate",
    "export",
    "joined",
    "load_exported",
    "rescue",
    "search",
    "train",
]

deprecated.install()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        globals()[name] = getattr(importlib.import_module(f"detente.{_MODULES[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module 'detente' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, also before they are imported."""
    return sorted({*globals(), *__all__})
