"""Feature extractors for metrics: the data sets' classifiers, and Inception."""
