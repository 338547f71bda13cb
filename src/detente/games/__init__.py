"""Games: the players, their losses and their batches."""
