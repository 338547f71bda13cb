"""The exponents of `benchmarks/growth.py`."""

import pytest

from benchmarks.growth import exponent


def test_the_exponent_of_a_power_law_is_exact_and_a_constant_makes_it_smaller() -> None:
    sizes = [1, 3, 10, 32, 100]
    assert exponent(sizes, [5 * size**2 for size in sizes]) == pytest.approx((2.0, 0.0), abs=1e-7)
    slope, error = exponent(sizes, [10 + size for size in sizes])
    assert slope < 1 and error > 0
