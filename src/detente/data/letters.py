"""Characters and their numbers."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from detente.errors import require

UNKNOWN, PADDING = "\N{REPLACEMENT CHARACTER}", "`"  # numbers 0 and 1 of every vocabulary
LARGEST = 256  # what one byte can number


def vocabulary_of(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the characters of lines in the order of their numbers: unknown, padding, then by falling frequency."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    for own in (UNKNOWN, PADDING):
        counts.pop(own, None)
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    return (UNKNOWN, PADDING, *by_frequency[: LARGEST - 2])


def encode(lines: Sequence[str], vocabulary: Sequence[str], length: int) -> np.ndarray:
    """Return the characters' numbers, (lines, length) uint8: each line cut to `length` characters, or padded."""
    joined = "".join(line[:length].ljust(length, PADDING) for line in lines)
    table = _numbers(tuple(vocabulary))
    return table[np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)].reshape(len(lines), length)


@cache
def _numbers(vocabulary: tuple[str, ...]) -> np.ndarray:
    """Return the number of every character there is, 0 where it has none."""
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    table[[ord(character) for character in vocabulary]] = np.arange(len(vocabulary))
    return table


def decode(numbers: np.ndarray, vocabulary: Sequence[str]) -> list[str]:
    """Return lines of characters' numbers, (n, length) whole, without their padding.

    Raises:
        InvalidValue: numbers without a character.
    """
    require(numbers.ndim == 2, "samples", numbers.shape, "(n, length)")
    inside = not numbers.size or 0 <= numbers.min() and numbers.max() < len(vocabulary)
    require(bool(inside), "samples", numbers, f"whole numbers 0 … {len(vocabulary) - 1}")
    return ["".join(vocabulary[int(number)] for number in line).rstrip(PADDING) for line in numbers.tolist()]
