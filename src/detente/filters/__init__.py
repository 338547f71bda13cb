"""Filters: maps of samples, applied before the discriminator scores them: less detail, noise, augmentations."""
