"""Preparing data sets: from the hub or files of any form to one memory-mapped array."""
