"""Checks of a set-up before any step: data, networks and method, without training."""
