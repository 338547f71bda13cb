"""Who plays: games as players, losses and where batches come from."""
