"""Optimizers: the move that each player makes along the field."""
