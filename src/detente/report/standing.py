"""Old names, until `detente.cli.display` uses the new ones."""

from detente.report.ranking import rankings as standings

__all__ = ["standings"]
