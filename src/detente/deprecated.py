"""Old names, which keep working for one release; each use warns and gives the new name."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {
    "detente.catalogue": "detente.registry",
    "detente.command_words": "detente.cli.command_words",
    "detente.commands": "detente.cli.commands",
    "detente.commands.classifier": "detente.cli.classifier",
    "detente.commands.compare": "detente.cli.commands.compare",
    "detente.commands.data": "detente.cli.commands.data",
    "detente.commands.demo": "detente.cli.commands.demo",
    "detente.commands.diagnose": "detente.cli.commands.diagnose",
    "detente.commands.display": "detente.cli.display",
    "detente.commands.list": "detente.cli.commands.list",
    "detente.commands.report": "detente.cli.commands.report",
    "detente.commands.reproduce": "detente.cli.commands.reproduce",
    "detente.commands.resume": "detente.cli.commands.resume",
    "detente.commands.sample": "detente.cli.commands.sample",
    "detente.commands.show": "detente.cli.commands.show",
    "detente.commands.train": "detente.cli.commands.train",
    "detente.commands.tuning": "detente.comparison.tuning",
    "detente.configuration": "detente.cli.configuration",
    "detente.conjugate_gradient": "detente.autodiff.conjugate_gradient",
    "detente.derivatives": "detente.autodiff",
    "detente.exact_derivatives": "detente.autodiff.exact_derivatives",
    "detente.exact_normalization": "detente.autodiff.exact_normalization",
    "detente.exact_operations": "detente.autodiff.exact_operations",
    "detente.imports": "detente.cli.naming",
    "detente.layered_jacobian": "detente.shortcuts.layered_jacobian",
    "detente.layered_moments": "detente.shortcuts.layered_moments",
    "detente.lending": "detente.modules.functional_call",
    "detente.methods.later": "detente.methods.averaging_and_optimism",
    "detente.training.budget": "detente.comparison.budget",
    "detente.training.rates": "detente.comparison.learning_rates",
    "detente.training.sweep": "detente.comparison.sweep",
    "detente.training.terms": "detente.comparison.config",
    "detente.training.economy": "detente.training.settings",
    "detente.local_game": "detente.fields.local_game",
    "detente.method": "detente.methods.method",
    "detente.metrics.classifier": "detente.metrics.features.classifier",
    "detente.metrics.classifier_training": "detente.metrics.features.classifier_training",
    "detente.metrics.inception": "detente.metrics.features.inception",
    "detente.module_checks": "detente.modules.checks",
    "detente.naming": "detente.cli.naming",
    "detente.object_graph": "detente.modules.object_graph",
    "detente.option_help": "detente.cli.command_words",
    "detente.preparing": "detente.data.preparation",
    "detente.preparing.arrays": "detente.data.preparation.local_files",
    "detente.preparing.encoding": "detente.data.preparation.preparation",
    "detente.preparing.files": "detente.data.preparation.local_files",
    "detente.preparing.hub": "detente.data.preparation.hugging_face",
    "detente.preparing.origin": "detente.data.preparation.origin",
    "detente.preparing.parquet": "detente.data.preparation.hugging_face",
    "detente.preparing.part": "detente.data.preparation.part",
    "detente.preparing.preparation": "detente.data.preparation.preparation",
    "detente.preparing.unfinished": "detente.data.preparation.writer",
    "detente.probe": "detente.metrics.context",
    "detente.randomness": "detente.modules.randomness",
    "detente.recurrent_operations": "detente.autodiff.recurrent_operations",
    "detente.report.escape": "detente.report.formatting",
    "detente.report.paired_words": "detente.report.comparison_text",
    "detente.diagnostics.verdict": "detente.diagnostics.findings",
    "detente.report.run": "detente.report.recorded_run",
    "detente.report.verdict": "detente.report.summary",
    "detente.report.standing": "detente.report.ranking",
    "detente.report.tables": "detente.report.results",
    "detente.report.pairs": "detente.report.paired_differences",
    "detente.schedule": "detente.schedules",
    "detente.scores": "detente.games.scores",
    "detente.outlines": "detente.registry.outlines",
    "detente.second_order": "detente.shortcuts.batch_norm",
    "detente.sharing": "detente.shortcuts.forward_cache",
    "detente.standard_games": "detente.games.presets",
    "detente.standard_image_games": "detente.games.presets.images",
    "detente.terminal": "detente.cli.terminal",
    "detente.training.checkpoint": "detente.training.run_directory.checkpoint",
    "detente.training.description": "detente.training.run_directory.description",
    "detente.training.directory": "detente.training.run_directory.directory",
    "detente.training.lock": "detente.training.run_directory.lock",
    "detente.training.provenance": "detente.training.run_directory.provenance",
    "detente.training.record": "detente.training.run_directory.record",
    "detente.training.snapshot": "detente.training.run_directory.snapshot",
    "detente.vector": "detente.modules.layout",
    "detente.yaml_file": "detente.cli.configuration",
    "detente.experiments.accept_reject_images": "detente.experiments.accept_reject.accept_reject_images",
    "detente.experiments.bilinear_race": "detente.experiments.methods.bilinear_race",
    "detente.experiments.class_statistics": "detente.experiments.support.class_statistics",
    "detente.experiments.cycling_low_dimensional": "detente.experiments.accept_reject.cycling_low_dimensional",
    "detente.experiments.dirac_portraits": "detente.experiments.methods.dirac_portraits",
    "detente.experiments.estimate": "detente.experiments.support.interval_estimate",
    "detente.experiments.four_gaussians_modes": "detente.experiments.accept_reject.four_gaussians_modes",
    "detente.experiments.image_games": "detente.experiments.support.image_games",
    "detente.experiments.image_grids": "detente.experiments.support.image_grids",
    "detente.experiments.image_scores": "detente.experiments.support.numerics_images",
    "detente.experiments.image_sets": "detente.experiments.support.image_sets",
    "detente.experiments.local_pairs": "detente.experiments.support.sgan_toys",
    "detente.experiments.moments": "detente.experiments.support.step_evaluation",
    "detente.experiments.noise_level": "detente.experiments.support.noise_level",
    "detente.experiments.noisy_conditional_digits": "detente.experiments.noisy.noisy_conditional_digits",
    "detente.experiments.noisy_discriminator": "detente.experiments.noisy.noisy_discriminator",
    "detente.experiments.numerics_architectures": "detente.experiments.numerics.numerics_architectures",
    "detente.experiments.numerics_disc": "detente.experiments.numerics.numerics_disc",
    "detente.experiments.numerics_divergences": "detente.experiments.numerics.numerics_divergences",
    "detente.experiments.numerics_lemmas": "detente.experiments.numerics.numerics_lemmas",
    "detente.experiments.numerics_losses": "detente.experiments.numerics.numerics_losses",
    "detente.experiments.numerics_rates": "detente.experiments.numerics.numerics_rates",
    "detente.experiments.numerics_ring": "detente.experiments.numerics.numerics_ring",
    "detente.experiments.numerics_spectra": "detente.experiments.numerics.numerics_spectra",
    "detente.experiments.numerics_step_size": "detente.experiments.numerics.numerics_step_size",
    "detente.experiments.outcome": "detente.experiments.support.reproduction",
    "detente.experiments.sgan_coverage": "detente.experiments.sgan.sgan_coverage",
    "detente.experiments.sgan_dcgan": "detente.experiments.sgan.sgan_dcgan",
    "detente.experiments.sgan_digits": "detente.experiments.sgan.sgan_digits",
    "detente.experiments.sgan_early": "detente.experiments.sgan.sgan_early",
    "detente.experiments.sgan_images": "detente.experiments.support.sgan_images",
    "detente.experiments.sgan_pairs": "detente.experiments.sgan.sgan_pairs",
    "detente.experiments.sgan_text": "detente.experiments.sgan.sgan_text",
    "detente.experiments.sgan_two_discriminators": "detente.experiments.sgan.sgan_two_discriminators",
    "detente.experiments.sgan_uncovered": "detente.experiments.sgan.sgan_uncovered",
    "detente.experiments.sgan_wgan_toys": "detente.experiments.sgan.sgan_wgan_toys",
    "detente.experiments.svrg_batch_sizes": "detente.experiments.svrg.svrg_batch_sizes",
    "detente.experiments.svrg_digits": "detente.experiments.svrg.svrg_digits",
    "detente.experiments.svrg_fashion": "detente.experiments.svrg.svrg_fashion",
    "detente.experiments.svrg_full_batch": "detente.experiments.svrg.svrg_full_batch",
    "detente.experiments.svrg_mode_recovery": "detente.experiments.svrg.svrg_mode_recovery",
    "detente.experiments.training": "detente.experiments.support.resumable_training",
    "detente.experiments.walks": "detente.experiments.support.trajectories",
    "detente.experiments.zero_one_digits": "detente.experiments.accept_reject.zero_one_digits",
}

NAMES = {  # new names in current modules, by old name
    "detente.comparison.budget.shortened": "shorten",
    "detente.comparison.cells.given": "same_run",
    "detente.comparison.config.Terms": "ComparisonConfig",
    "detente.comparison.learning_rates.follow": "rates_match",
    "detente.comparison.learning_rates.scaled": "scale_rates",
    "detente.comparison.sweep.best": "best_trial",
    "detente.comparison.sweep.deciding": "metric_directions",
    "detente.comparison.sweep.shorter": "trial_run",
    "detente.comparison.sweep.tried": "run_trial",
    "detente.data.batches.Form": "detente.data.batch_form.Form",
    "detente.data.batches.map_entries": "detente.data.batch_form.map_entries",
    "detente.data.files.Layout": "FolderLayout",
    "detente.diagnostics.field_on_grid.Grid": "FieldGrid",
    "detente.diagnostics.findings.verdict": "findings",
    "detente.experiments.support.reproduction.Verdict": "DecidedClaim",
    "detente.fields.base.mixture": "coupling_between_samples",
    "detente.metrics.context.Subject": "EvaluationContext",
    "detente.metrics.features.Extractor": "detente.metrics.features.extractor.Extractor",
    "detente.metrics.features.Seen": "detente.metrics.features.extractor.Predictions",
    "detente.metrics.features.classifier.Stated": "ModelCard",
    "detente.metrics.features.looked": "detente.metrics.features.extractor.extract",
    "detente.metrics.features.of_data": "detente.metrics.features.extractor.of_data",
    "detente.metrics.features.of_samples": "detente.metrics.features.extractor.of_samples",
    "detente.metrics.features.real_parts": "detente.metrics.features.extractor.real_parts",
    "detente.metrics.features.remembered": "detente.metrics.features.extractor.cached_on_data",
    "detente.metrics.mode_coverage.GoodShare": "HighQualityFraction",
    "detente.modules.build": "detente.modules.calling.build",
    "detente.modules.copied": "detente.modules.calling.copied",
    "detente.modules.evaluated": "detente.modules.calling.evaluated",
    "detente.modules.evaluating": "detente.modules.calling.evaluating",
    "detente.modules.functional_call.called_with": "functional_call",
    "detente.modules.is_lazy": "detente.modules.calling.is_lazy",
    "detente.modules.layout.eager": "detente.autodiff.tracing.is_eager",
    "detente.modules.materialized": "detente.modules.calling.initialize_lazy_layers",
    "detente.modules.remembered": "detente.modules.calling.copy_buffers",
    "detente.modules.traceable": "detente.modules.calling.is_traceable",
    "detente.schemes.base.Play": "StepContext",
    "detente.schemes.base.Turns": "NoisePerBatch",
    "detente.schemes.base.chosen": "select",
    "detente.schemes.base.in_order": "turn_order",
    "detente.schemes.base.told": "step_info",
    "detente.schemes.pairs.alone": "as_state",
    "detente.schemes.pairs.each": "map_tensors",
    "detente.schemes.pairs.mixed": "with_player_of",
    "detente.schemes.pairs.sharing": "with_shared_parameters",
    "detente.schemes.pairs.stacked": "stack_trees",
    "detente.shortcuts.batch_norm.closed_forms": "batch_norm_in_closed_form",
    "detente.training.drawing.Drawing": "RandomInputs",
    "detente.training.drawing.drawings": "random_inputs",
    "detente.training.drawing.pays": "prefetch_pays",
    "detente.training.execution.execution": "choose_execution",
    "detente.training.progress.begin": "initial_progress",
    "detente.training.run_directory.description.made_in_python": "built_in_python",
    "detente.training.run_directory.directory.cut_back": "truncate_record",
    "detente.training.run_directory.directory.held": "lock_directory",
    "detente.training.run_directory.lock.told": "describe_holder",
    "detente.training.settings.Economy": "detente.game.EvaluationSettings",
    "detente.training.signals.terminable": "raise_on_termination",
    "detente.training.signals.undisturbed": "ignore_signals",
    "detente.training.step.noise_of": "draw_noise",
    "detente.training.step.placed": "state_to_device",
    "detente.training.step.sent": "batch_to_device",
}


def current(path: str) -> str:
    """Return the current import path for a path that may be outdated, e.g. of a class in an old `run.yaml`."""
    parent, attributes = path, []
    while parent:
        if parent in MODULES:
            return ".".join([MODULES[parent], *attributes])
        parent, _, attribute = parent.rpartition(".")
        attributes.insert(0, attribute)
    return path


def lookup(module: str) -> Callable[[str], Any]:
    """Return what a module that has renamed something needs as its `__getattr__`."""

    def getattr_(name: str) -> Any:
        if f"{module}.{name}" not in NAMES:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, new = _today(module, name)
        _warn(f"{module}.{name}", f"{home}.{new}", 3)
        return getattr(importlib.import_module(home), new)

    return getattr_


def adopt(owner: type, names: Mapping[str, str]) -> None:
    """Copy attributes that a subclass defines under old names to the new names (for `__init_subclass__`).

    Args:
        owner: the subclass.
        names: the new name by the old one.
    """
    for old, new in names.items():
        if old in vars(owner) and new not in vars(owner):
            _warn(f"{owner.__name__}.{old}", new, 3)
            setattr(owner, new, vars(owner)[old])


def install() -> None:
    """Make modules importable under their old names."""
    sys.meta_path.append(_Finder())


def _today(module: str, name: str) -> tuple[str, str]:
    """Return the current module and name of something."""
    home, _, new = NAMES.get(f"{module}.{name}", name).rpartition(".")
    return home or module, new


def _warn(old: str, new: str, level: int) -> None:
    warnings.warn(f"{old} is now {new}; the next release removes the old name", DeprecationWarning, level + 1)


class _Finder(MetaPathFinder):
    """Finds the old name of a moved module, as a module that forwards every attribute to the new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _ForwardingLoader(), is_package=True) if fullname in MODULES else None


class _ForwardingLoader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        new = MODULES[module.__name__]

        def __getattr__(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            home, today = _today(new, name)
            member = getattr(importlib.import_module(home), today)
            _warn(f"{module.__name__}.{name}", f"{home}.{today}", 2)
            return member

        module.__getattr__ = __getattr__  # type: ignore[method-assign]
