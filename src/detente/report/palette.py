"""The colour and line style of each run, the same on the whole page; distinguishable for colour-blind readers."""

from __future__ import annotations

# Okabe and Ito's palette without black and yellow, which are hard to see on a dark or a light page.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot")
BORDERS = ("solid", "dashed", "dotted")
NEUTRAL = "#8a8f98"


def colour(run: int) -> str:
    """Return the colour of the run at this position, as ``#rrggbb``."""
    return COLOURS[run % len(COLOURS)]


def translucent(run: int, opacity: float) -> str:
    """Return the colour of a run at `opacity` in [0, 1]."""
    value = colour(run)
    red, green, blue = (int(value[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def dash(run: int) -> str:
    """Return the line style of a run for Plotly; it changes each time the colours repeat."""
    return DASHES[run // len(COLOURS) % len(DASHES)]


def border(run: int) -> str:
    """Return the line style of a run for a style sheet."""
    return BORDERS[run // len(COLOURS) % len(BORDERS)]
