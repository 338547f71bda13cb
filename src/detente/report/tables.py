"""Old names, until `detente.cli.display` uses the new ones."""

from detente.report.results import metrics_as_rows as many

__all__ = ["many"]
