"""Experiments on noisy discriminator gradients."""
