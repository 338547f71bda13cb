"""Checks of a set-up before any step, without training: data, networks and method."""

from detente.checks.switch import off as off
