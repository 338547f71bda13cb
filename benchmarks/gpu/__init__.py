"""What détente does on a GPU: checks against the processor, and measurements against hand-written loops."""
