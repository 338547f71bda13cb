"""Changes of a GAN's game or method, each against some failures."""
