"""Penalties: terms of the discriminator's loss that depend on the gradient of its scores."""
