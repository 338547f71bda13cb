"""Measurements during a short run of a GAN: each file measures one thing over time and interprets it."""
