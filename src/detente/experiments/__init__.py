"""One figure of one paper per file: its runs, its drawing, its claims."""
