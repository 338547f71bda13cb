"""Changes to a GAN's game or method that help against some failures."""
