"""Metrics: the quality of a game's samples or parameters, as one number."""
