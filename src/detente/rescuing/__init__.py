"""Find out why a GAN fails, and cure it: checks, a short run, and a race of cures."""
