"""Numbers as the page and the terminal show them."""

from __future__ import annotations

import math

from detente.report.statistics import Interval


def round_significant(value: float | None, digits: int = 5) -> float | None:
    """Return `value` rounded to `digits` significant digits, or None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def format_number(value: float, digits: int = 4) -> str:
    """Return ``12,345`` for integers and large numbers, otherwise `digits` significant digits."""
    if value == round(value) and abs(value) < 1e15:
        return _minus(f"{int(value):,}")
    if 1e3 <= abs(value) < 1e7:
        return _minus(f"{value:,.0f}")
    return _minus(f"{value:.{digits}g}")


def format_interval(interval: Interval) -> str:
    """Return ``mean ± half-width``, both with the decimals that two digits of the half-width need."""
    mean, half_width = interval.mean, interval.half_width
    if not half_width:
        return format_number(mean) + (" ± 0" if half_width == 0.0 else "")
    if not 1e-4 < abs(mean) + half_width < 1e6:
        return _minus(f"{mean:.3g} ± {half_width:.2g}")
    decimals = _decimals(half_width)
    return _minus(f"{mean:,.{decimals}f} ± {half_width:,.{decimals}f}")


def format_difference(difference: Interval | None) -> str:
    """Return ``+1.2 [0.4, 2.0]``: a signed difference with the ends of its interval, if it has one."""
    if difference is None:
        return "–"
    mean, low, high, half_width = difference.mean, difference.low, difference.high, difference.half_width
    if not half_width or not 1e-4 < abs(mean) + half_width < 1e6:
        interval = f" [{low:.3g}, {high:.3g}]" if half_width else ""
        return _minus(f"{'+' * (mean > 0)}{format_number(mean)}{interval}")
    decimals = _decimals(half_width)
    return _minus(f"{mean:+,.{decimals}f} [{low:,.{decimals}f}, {high:,.{decimals}f}]")


def format_p_value(p: float) -> str:
    """Return ``p = 0.012``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def format_count(number: int, noun: str) -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _decimals(half_width: float) -> int:
    return min(6, max(0, 1 - math.floor(math.log10(half_width))))


def _minus(text: str) -> str:
    return text.replace("-", "−")
