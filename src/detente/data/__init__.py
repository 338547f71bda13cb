"""Data: sources of real samples."""
