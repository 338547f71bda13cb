"""Measurements of speed and memory, compared with hand-written loops and other libraries."""
