"""Sources of real samples."""
