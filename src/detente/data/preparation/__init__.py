"""Files of any usual kind, converted once to memory-mapped arrays."""
