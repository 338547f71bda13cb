"""Loggers, one file each: they send the numbers and pictures of a run to a tracking service."""
