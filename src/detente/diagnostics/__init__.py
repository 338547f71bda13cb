"""Diagnostics: the stability of a game, its rotation, and the noise of its gradients."""
