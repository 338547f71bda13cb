"""What a short run of a GAN shows: each file measures one thing over time and says what it is a sign of."""
