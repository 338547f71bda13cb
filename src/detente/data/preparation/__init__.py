"""Conversion of data sets in common file formats to memory-mapped arrays."""
