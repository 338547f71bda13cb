"""The training loop, its recording, interruption and resumption."""
