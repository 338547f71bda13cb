"""Checks of détente on a GPU against the CPU, and measurements against hand-written loops."""
