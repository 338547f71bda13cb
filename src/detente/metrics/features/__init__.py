"""Feature extractors for metrics: the data sets' classifiers, and Inception."""

from detente.deprecated import lookup

__getattr__ = lookup(__name__)
