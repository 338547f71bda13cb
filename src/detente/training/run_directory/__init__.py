"""Run directories: writing, reading and resuming the files of a training run."""
