"""How well `detente rescue` does: fifteen public failing set-ups and three healthy controls, rebuilt small."""
