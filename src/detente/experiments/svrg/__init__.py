"""Experiments of *SVRG-GAN*."""
