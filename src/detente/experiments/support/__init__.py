"""Functions that several experiments share."""
