"""One figure of one paper per file: its runs, its plot, its claims."""
