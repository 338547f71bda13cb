"""What a training leaves in its directory, and how it is read back."""
