"""Old names, until `detente.cli.display` uses the new ones."""

from detente.report.comparison_text import comparison_sentences as sentences
from detente.report.comparison_text import describe_pair as shown_pair
from detente.report.comparison_text import describe_tests as method_of_test
from detente.report.comparison_text import tuning_lines as swept

__all__ = ["method_of_test", "sentences", "shown_pair", "swept"]
