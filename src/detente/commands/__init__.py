"""The commands of the command line, one a file: `DESCRIPTION`, and `main(words)` that carries it out."""
