"""Experiments of *From Theory to Practice*."""
