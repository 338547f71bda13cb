"""Through what: how samples are coarse-grained before the discriminator sees them."""
