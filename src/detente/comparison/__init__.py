"""Comparisons of methods on one game at equal cost: budgets, learning-rate sweeps and the report page."""
