"""Terms added to the discriminator's loss that look at the slope of its scores."""
