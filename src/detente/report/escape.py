"""The three ways a string enters the page: as HTML, as script data, as Plotly text; and how numbers are written."""

from __future__ import annotations

import html
import json
import math

from detente.report.statistics import Interval


def text(value: object) -> str:
    """Return `value` for an HTML text or a quoted attribute."""
    return html.escape(str(value), quote=True)


def script_data(value: object) -> str:
    """Return `value` as JSON that can stand inside a script element (no tag or comment can begin in it)."""
    raw = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return raw.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plotly_text(value: object) -> str:
    """Return `value` for Plotly, which reads a few tags and ``%{...}`` in names and labels."""
    return html.escape(str(value), quote=False).replace("%{", "%&#123;")


def rounded(value: float | None, digits: int = 5) -> float | None:
    """Return `value` to `digits` significant digits, None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def shown_number(value: float, digits: int = 4) -> str:
    """Return a number for a reader: grouped integers, otherwise `digits` significant digits."""
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if 1e3 <= abs(value) < 1e7:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−")


def shown_interval(value: Interval) -> str:
    """Return ``mean ± half-width``, both with the decimals that two digits of the half-width need."""
    if not value.half_width:
        return shown_number(value.mean) + (" ± 0" if value.half_width == 0.0 else "")
    if not 1e-4 < abs(value.mean) + value.half_width < 1e6:
        return f"{value.mean:.3g} ± {value.half_width:.2g}".replace("-", "−")
    decimals = min(6, max(0, 1 - math.floor(math.log10(value.half_width))))
    return f"{value.mean:,.{decimals}f} ± {value.half_width:,.{decimals}f}".replace("-", "−")
