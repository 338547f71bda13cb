"""What is wrong with a GAN, and what cures it: checks, a short run, and a race of cures."""
