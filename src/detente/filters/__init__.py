"""Filters: maps that remove detail from samples before the discriminator scores them."""
