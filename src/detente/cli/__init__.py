"""The command line: `detente COMMAND …`, one file per command in `detente.cli.commands`."""

from detente.cli.entry_point import main as main
