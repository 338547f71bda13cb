"""Experiments of *The Numerics of GANs*."""
