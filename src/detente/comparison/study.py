"""The trials of a search, proposed and recorded by Optuna."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detente.comparison.search_space import Range
from detente.errors import InvalidValue

JOURNAL = "journal.jsonl"  # Optuna's record of the study, one operation per line
HALVING = 3  # of the trials that have reached a rung, the best third continues


class Study:
    """Optuna's study in a folder: the tree-structured Parzen estimator proposes, and successive halving prunes.

    The proposal for a trial depends only on the seed and the trials before it, so that an interrupted search
    continues like an uninterrupted one.

    Args:
        folder: folder of the search, which this process has locked.
        space: the range of every setting.
        better: "higher" or "lower".
        seed: seed of the proposals.

    Source: Akiba et al. 2019, Optuna (arXiv:1907.10902); Li et al. 2020, A System for Massively Parallel Hyperparameter
    Tuning (arXiv:1810.05934), algorithm 2.
    """

    def __init__(self, folder: Path, space: Mapping[str, Range], better: str, seed: int) -> None:
        require_optuna()
        self.space, self.seed = space, seed
        with _quiet():
            optuna = self.optuna = importlib.import_module("optuna")
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            journal = importlib.import_module("optuna.storages.journal")
            for lock in folder.glob(f"{JOURNAL}.lock*"):  # of a process that was killed
                lock.unlink(missing_ok=True)
            storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / JOURNAL)))
            pruner = optuna.pruners.SuccessiveHalvingPruner(1, HALVING, 0)
            self.study = optuna.create_study(
                study_name="search",
                storage=storage,
                pruner=pruner,
                direction="maximize" if better == "higher" else "minimize",
                load_if_exists=True,
            )
            self.distributions = {name: self._distribution(interval) for name, interval in space.items()}

    def ask(self) -> Any:
        """Return a new trial."""
        with _quiet():
            number = len(self.study.get_trials(deepcopy=False))
            self.study.sampler = self.optuna.samplers.TPESampler(seed=self.seed + number, constant_liar=True)
            return self.study.ask(self.distributions)

    def unfinished(self) -> list[Any]:
        """Return the trials that were started and have not ended."""
        running = (self.optuna.trial.TrialState.RUNNING,)
        return [self.optuna.trial.Trial(self.study, t._trial_id) for t in self.study.get_trials(states=running)]

    def parameters(self, trial: Any) -> dict[str, Any]:
        """Return the values that a trial tries."""
        return {name: self.space[name].rounded(value) for name, value in trial.params.items()}

    def next_rung(self, trial: Any) -> int:
        """Return the rung that a trial goes to next."""
        return len(self._values(trial))

    def is_pruned(self, trial: Any, rung: int, value: float | None = None) -> bool:
        """Report the value of a trial at a rung, unless it was reported before, and return whether it ends there."""
        with _quiet():
            if value is not None:
                trial.report(value, HALVING**rung)
            return rung >= 0 and trial.should_prune()

    def end(self, trial: Any, status: str, value: float | None = None, error: str = "") -> None:
        """Record the end of a trial: "complete" with its value, "pruned", "diverged" or "failed"."""
        states = self.optuna.trial.TrialState
        trial.set_user_attr("status", status)
        trial.set_user_attr("error", error)
        with _quiet():
            if status == "complete":
                self.study.tell(trial, value)
            else:  # a setting that diverges is bad; one that fails is not informative
                self.study.tell(trial, state=states.FAIL if status == "failed" else states.PRUNED)

    def trials(self) -> list[dict[str, Any]]:
        """Return all trials as plain values, in the order of their numbers."""
        return [
            {
                "number": trial.number,
                "parameters": self.parameters(trial),
                "status": trial.user_attrs.get("status", "unfinished"),
                "error": trial.user_attrs.get("error", ""),
                "value": trial.value if trial.user_attrs.get("status") == "complete" else None,
                "rungs": self._values(trial),
            }
            for trial in self.study.get_trials(deepcopy=False)
        ]

    def importance(self) -> dict[str, float]:
        """Return the share of each setting in the differences between trials; empty if there are too few.

        Source: Watanabe et al. 2023, PED-ANOVA (arXiv:2304.10255).
        """
        try:
            with _quiet():
                importance = importlib.import_module("optuna.importance")
                shares = importance.get_param_importances(
                    self.study, evaluator=importance.PedAnovaImportanceEvaluator()
                )
            return {name: float(share) for name, share in shares.items()}
        except Exception:  # Optuna raises many kinds, e.g. if all values are equal
            return {}

    def _values(self, trial: Any) -> list[float]:
        """Return the value at each rung so far."""
        if isinstance(trial, self.optuna.trial.Trial):
            trial = self.study._storage.get_trial(trial._trial_id)
        return [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]

    def _distribution(self, interval: Range) -> Any:
        kinds = self.optuna.distributions
        if interval.kind == "choice":
            return kinds.CategoricalDistribution(interval.choices)
        if interval.kind == "int":
            return kinds.IntDistribution(int(interval.low), int(interval.high))
        return kinds.FloatDistribution(interval.low, interval.high, log=interval.kind == "log")


def require_optuna() -> None:
    """Raise `InvalidValue` if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        allowed = "an installation with Optuna"
        raise InvalidValue("search", "no package optuna", allowed, 'pip install "detente[search]"')


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's warnings about what it calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
