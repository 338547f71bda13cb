"""Record a training run in its directory, the only input of the report and of all later commands."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import yaml

import detente
from detente.errors import InvalidValue, require
from detente.loggers.base import LoggedRun
from detente.metrics.base import Metric
from detente.metrics.selection import metrics_by_label
from detente.ranks import Ranks
from detente.training import memory
from detente.training.distributed import alone, launch
from detente.training.log_sessions import LogSessions, loggers_of, numbers_of
from detente.training.loop import Tick, applicable, train
from detente.training.measurement import require_available, select_applicable
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.directory import clear, lock_directory, truncate_record, write_text
from detente.training.run_directory.provenance import provenance, require_same
from detente.training.run_directory.scores import describe_metric, key_for, read_entries, write_entries
from detente.training.run_directory.snapshot import write_snapshot
from detente.training.signals import ignore_signals
from detente.training.stopping import Stopping


def train_into(
    run: Run,
    directory: Path,
    configuration: dict[str, Any],
    resume: bool = False,
    overwrite: bool = False,
    changed_data: bool = False,
    ranks: Ranks | None = None,
) -> Iterator[Tick]:
    """Train a run, record it in a directory and yield its ticks; an interrupted run saves its progress.

    Args:
        run: the training run.
        directory: its run directory.
        configuration: the resolved configuration as nested mappings, for `run.yaml`.
        resume: continue the run in the directory.
        overwrite: replace an existing run.
        changed_data: continue although the data have changed.
        ranks: from `detente.joined()`, if several processes train the run together; rank 0 alone writes the directory.

    Raises:
        InvalidValue: see `Record`; or every seed of the run has diverged.
        RankError: another rank was lost, or has another state.
    """

    def opened() -> Record:
        record = Record(run, directory, configuration, resume, overwrite, changed_data, ranks)
        try:
            _require_trainable(record)
        except InvalidValue as error:
            record.__exit__(type(error), error, None)
            raise
        return record

    if not alone(ranks):
        from detente.training.run_directory.shared_record import train_together

        assert ranks is not None
        yield from train_together(run, opened, ranks)
        return
    with opened() as record:
        yield from record.follow(train(run, record.start, loggers=()))  # the record logs the ticks


class Record:
    """Writes the ticks of a run into its directory; can continue an existing run directory.

    Args:
        run: the training run.
        directory: run directory; created if it does not exist.
        configuration: the resolved configuration as nested mappings, for `run.yaml`.
        resume: continue the run in an existing directory.
        overwrite: replace an existing run.
        changed_data: continue although the data have changed.
        ranks: the ranks that train the run together.

    Raises:
        InvalidValue: the directory is not empty (without `resume` and `overwrite`), is not writable, or another process
            writes into it; or the data have changed since the run was last trained; or a package or file is missing
            that a metric needs.
    """

    def __init__(
        self,
        run: Run,
        directory: Path,
        configuration: dict[str, Any],
        resume: bool = False,
        overwrite: bool = False,
        changed_data: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks, self._saves_at_end = 1 if ranks is None else ranks.count, True
        self._requested = metrics_by_label(run.metrics)
        require_available(self._requested, run.game)
        self.lock = lock_directory(directory)
        try:
            self._open(run, directory, configuration, resume, overwrite, changed_data)
        except BaseException:
            self.lock.release()
            raise

    def _open(
        self, run: Run, directory: Path, configuration: dict[str, Any], resume: bool, overwrite: bool, changed: bool
    ) -> None:
        self.run, self.directory = run, directory
        self.checkpoints = directory / "checkpoints"
        # A run that was killed before its first checkpoint starts again.
        self.start = checkpoint.load(self.checkpoints, run) if resume and checkpoint.files(self.checkpoints) else None
        first_step = max(seed_progress.step for seed_progress in self.start) if self.start else -1
        require(first_step <= run.steps, "steps", run.steps, f"at least {first_step}, the step of the last checkpoint")
        origin, loggers = provenance(run.game), loggers_of(run)
        requested, reasons = select_applicable(self._requested, run.game)
        self.metrics: dict[str, Metric] = {**applicable(run.game), **requested}
        self.rule = Stopping.of(run.stop_when, run.patience)
        if self.rule is not None:
            self.rule.check(self.metrics)
        if self.start is None and run.warm_start is not None:  # checked before anything is written
            initial_progress(run, run.seeds[0])
        if resume:
            require_same(directory, origin, changed)
        else:
            clear(directory, overwrite)
        content = self._write_yaml({**configuration, **origin})
        self._entries = {name: describe_metric(name, metric) for name, metric in self.metrics.items()}
        self._entries |= {n: {**describe_metric(n, self._requested[n]), "missing": text} for n, text in reasons.items()}
        self._entries |= read_entries(directory) if resume else {}
        self._keys = {name: name for name in self.metrics}
        write_entries(directory, self._entries)
        truncate_record(directory, first_step)
        logged = LoggedRun(directory.name, directory, content, first_step if self.start else None)
        self._log_sessions = LogSessions(loggers, logged)
        self._lines = (directory / "metrics.jsonl").open("a", encoding="utf-8")
        self._last_tick: Tick | None = None
        # Progress of each seed at its last line.
        self._last_written = {seed_progress.seed: seed_progress for seed_progress in self.start or ()}
        self._saved_step = -1
        self._held: tuple[Sequence[Progress], checkpoint.Division] | None = None

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with ignore_signals():
                self._end()
        finally:
            try:
                self._log_sessions.close(finished=error is None)  # may wait for a network, so Ctrl-C works here
            finally:
                self.lock.release()

    def _end(self) -> None:
        """Write the last checkpoint and the last status."""
        try:
            if self._last_tick is not None:
                if self._saves_at_end and self._saved_step < self._last_tick.step:
                    self._save(self._last_tick)
                self._write_status(self._last_tick.progress, _execution(self._last_tick), "interrupted")
            elif self.start is not None:  # killed between its last checkpoint and its last status
                self._write_status(self.start, self._last_execution(), "interrupted")
        finally:
            self._lines.close()

    def saves(self, tick: Tick) -> bool:
        """Return whether `write` saves a tick."""
        return self._last_tick is None or self.run.event_between("checkpoint", self._last_tick.moment, tick.moment)

    def has_saved(self, tick: Tick) -> bool:
        """Return whether a tick is saved."""
        return self._saved_step >= tick.step

    def save_divided(self, progress: Sequence[Progress], division: checkpoint.Division) -> None:
        """Say that the other ranks have written their parts of the next checkpoint.

        Args:
            progress: what rank 0 holds of it.
            division: how the ranks divide it.
        """
        self._held = progress, division

    def end_with(self, save: bool, last: Tick | None) -> None:
        """Set whether the last tick is saved at the end, and what it is if it was written in part."""
        self._saves_at_end, self._last_tick = save, last or self._last_tick

    def follow(self, ticks: Iterator[Tick]) -> Iterator[Tick]:
        """Write and yield each tick."""
        for tick in ticks:
            self.write(tick)
            yield tick

    def write(self, tick: Tick) -> None:
        """Write one tick: lines, events, samples, and a checkpoint at its interval."""
        self._describe_metrics(tick)
        for seed_progress in tick.progress:
            if seed_progress.seed in tick.infos or seed_progress.seed in tick.metrics:
                self._write_line(tick, seed_progress)
        self._lines.flush()
        if tick.metrics:
            for seed_progress in tick.progress:
                if seed_progress.seed in tick.metrics:
                    self._write_pictures(seed_progress, tick.step)
        if self.saves(tick):
            os.fsync(self._lines.fileno())
            self._save(tick)
        self._last_tick = tick
        self._write_status(tick.progress, _execution(tick), "running")

    def _describe_metrics(self, tick: Tick) -> None:
        """Write how the tick's metrics were measured, where metrics.json does not say so yet."""
        before = dict(self._entries)
        for name, stamp in tick.stamps.items():
            if name in self.metrics:
                self._keys[name] = key_for(self._entries, name, self.metrics[name], stamp, training=True)
        if self._entries != before:
            write_entries(self.directory, self._entries)

    def _save(self, tick: Tick) -> None:
        progress, division = self._held or (tick.progress, None)
        checkpoint.save(self.checkpoints, progress, getattr(self.run.game, "layouts", None), division)
        self._saved_step, self._held = tick.step, None

    def _write_line(self, tick: Tick, progress: Progress) -> None:
        cost, groups = self.run.method.gradient_evaluations(self.run.game), numbers_of(tick, progress.seed)
        line: dict[str, Any] = {
            "seed": progress.seed,
            "step": tick.step,
            "gradient_evaluations": cost * tick.step,
            "seconds": progress.seconds,
            **self._step_cost(progress),
            **groups,
        }
        if "metrics" in groups:
            groups["metrics"] = {self._keys.get(name, name): number for name, number in groups["metrics"].items()}
            line |= groups
        self._lines.write(json.dumps(line) + "\n")
        self._log_sessions.numbers(progress.seed, tick.step, groups)

    def _step_cost(self, progress: Progress) -> dict[str, float]:
        """Return the seconds per step since a seed's last line, and the peak memory so far."""
        before, peak_size = self._last_written.get(progress.seed), memory.peak(self.run.device)
        self._last_written[progress.seed] = progress
        memory_use = {} if peak_size is None else {"memory_mib": round(peak_size, 1)}
        if before is None or progress.step == before.step:
            return memory_use
        return {
            "seconds_per_step": float(f"{(progress.seconds - before.seconds) / (progress.step - before.step):.4g}"),
            **memory_use,
        }

    def _write_pictures(self, progress: Progress, step: int) -> None:
        state = self.run.method.scheme.eval_state(progress.state)
        for name, path in write_snapshot(self.run.game, state, self.directory, progress.seed, step).items():
            self._log_sessions.picture(progress.seed, step, name, path)

    def _write_status(self, progress: Sequence[Progress], execution: dict[str, str], unfinished: str) -> None:
        def status(seed_progress: Progress) -> str:
            if seed_progress.diverged_at is not None:
                return "diverged"
            at_end = self.run.is_over((seed_progress.step, seed_progress.seconds))
            at_end = at_end or seed_progress.stopped_at is not None
            return "finished" if at_end and unfinished != "running" else unfinished

        seeds = {
            str(seed_progress.seed): {
                "status": status(seed_progress),
                "step": seed_progress.step,
                "seconds": seed_progress.seconds,
                "diverged_at": seed_progress.diverged_at,
                "cause": seed_progress.cause,
                **self._stop(seed_progress),
            }
            for seed_progress in progress
        }
        status_file = {"seeds": seeds, **execution, "device": self.run.device, **self._count_of_ranks()}
        write_text(self.directory / "status.json", json.dumps(status_file, indent=1))

    def _count_of_ranks(self) -> dict[str, int]:
        return {"ranks": self.ranks} if self.ranks > 1 else {}

    def _stop(self, progress: Progress) -> dict[str, Any]:
        """Return when and why a seed stopped early; empty if it did not."""
        if progress.stopped_at is None or self.rule is None:
            return {}
        return {"stopped_at": progress.stopped_at, "stopped_because": self.rule.reason(progress)}

    def _last_execution(self) -> dict[str, str]:
        try:
            status = json.loads((self.directory / "status.json").read_text(encoding="utf-8"))
            return {"execution": status["execution"], "fallback_reason": status.get("fallback_reason", "")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {"execution": "", "fallback_reason": ""}

    def _write_yaml(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Write `run.yaml`, and return its content."""
        versions = {
            "detente": detente.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        }
        machine = {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
        content = {
            **configuration,
            "versions": versions,
            "machine": machine,
            "command": shlex.join(sys.argv),
            "folder": os.getcwd(),
            **self._count_of_ranks(),
            **({"launch": launch()} if launch() else {}),
        }
        write_text(self.directory / "run.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        return content


def _execution(tick: Tick) -> dict[str, str]:
    return {"execution": tick.execution, "fallback_reason": tick.fallback_reason}


def _require_trainable(record: Record) -> None:
    """Raise `InvalidValue` if every seed of a resumed run has diverged."""
    diverged = {progress.seed: progress.diverged_at for progress in record.start or ()}
    if diverged and all(step is not None for step in diverged.values()):
        steps = ", ".join(f"seed {seed} at step {step}" for seed, step in diverged.items())
        hint = "Train again with other settings, e.g. a smaller learning rate"
        run = f"{record.directory}, which diverged: {steps}"
        raise InvalidValue("run", run, "a run with a seed that has not diverged", hint)
