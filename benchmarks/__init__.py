"""Measurements of speed and memory beside hand-written loops and other libraries."""
