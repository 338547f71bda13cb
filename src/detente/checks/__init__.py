"""Checks of a set-up before any step: data, networks and method, without training."""

from detente.checks.switch import off as off
