"""The commands, one file each.

A file's name is the command. It holds `DESCRIPTION`, one line for the overview; `RANK`, its place there, ascending;
and `main(words)`, which carries out the command and returns the exit status.
"""
