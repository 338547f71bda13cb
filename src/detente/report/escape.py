"""Old names, until `detente.cli.display` uses the new ones."""

from detente.report.formatting import format_interval as shown_interval

__all__ = ["shown_interval"]
