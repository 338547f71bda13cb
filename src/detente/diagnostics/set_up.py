"""Faults of a GAN's data, networks and learning rates that show before any step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detente.checks.base import inspect
from detente.diagnostics.base import Diagnosis, Diagnostic, DiagnosticContext


@dataclass(frozen=True)
class SetUp(Diagnostic):
    """The findings of all checks of the set-up; silent if all is well."""

    rank: ClassVar[int] = 0
    activity: ClassVar[str] = "checks of the set-up"

    def __call__(self, context: DiagnosticContext) -> Diagnosis:
        """Return one line for each finding."""
        return Diagnosis(
            lines=[
                f"Set-up, {finding} ({finding.certainty:.0%} sure)" for finding in inspect(context.game, context.method)
            ]
        )
