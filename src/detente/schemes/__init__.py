"""Schemes: the order of field evaluations and moves in one training step."""
