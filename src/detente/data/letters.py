"""Conversion between characters and their indices in a vocabulary."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from detente.errors import require

UNKNOWN, PADDING = "\N{REPLACEMENT CHARACTER}", "`"  # indices 0 and 1 of every vocabulary
LARGEST = 256  # maximum size of a vocabulary, since an index is one byte


def vocabulary_of(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the vocabulary of lines: unknown, padding, then all characters by decreasing frequency."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    for character in (UNKNOWN, PADDING):
        counts.pop(character, None)
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    return (UNKNOWN, PADDING, *by_frequency[: LARGEST - 2])


def encode(lines: Sequence[str], vocabulary: Sequence[str], length: int) -> np.ndarray:
    """Return the indices of the characters, (lines, length) uint8; lines are cut or padded to `length` characters."""
    joined = "".join(line[:length].ljust(length, PADDING) for line in lines)
    table = _number_table(tuple(vocabulary))
    return table[np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)].reshape(len(lines), length)


@cache
def _number_table(vocabulary: tuple[str, ...]) -> np.ndarray:
    """Return the index of every Unicode character, 0 if it is not in the vocabulary."""
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    table[[ord(character) for character in vocabulary]] = np.arange(len(vocabulary))
    return table


def decode(numbers: np.ndarray, vocabulary: Sequence[str]) -> list[str]:
    """Return lines without their padding, from the indices of their characters, (n, length) integer.

    Raises:
        InvalidValue: an index is not in the vocabulary.
    """
    require(numbers.ndim == 2, "samples", numbers.shape, "(n, length)")
    valid = not numbers.size or 0 <= numbers.min() and numbers.max() < len(vocabulary)
    require(bool(valid), "samples", numbers, f"integers 0 … {len(vocabulary) - 1}")
    return ["".join(vocabulary[int(number)] for number in line).rstrip(PADDING) for line in numbers.tolist()]
