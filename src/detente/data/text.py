"""Text as lines of one-hot characters, all of the same length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.data.cache import PreparedArrays, open_set
from detente.data.letters import decode, encode, vocabulary_of
from detente.errors import require, unknown

SMALL_TEXT = "small_text"
LENGTH = 32
# The words of small_text, by position in a sentence.
WORDS = (
    ("the", "a", "one", "my", "our", "no", "this", "that"),
    ("old", "red", "shy", "big", "wet", "calm", "kind", "loud", "tiny", "grey", "brave", "quick"),
    ("fox", "hen", "cat", "owl", "man", "cow", "girl", "boat", "king", "bird", "horse", "child"),
    ("sees", "likes", "finds", "hears", "left", "met", "fed", "saw", "knew", "lost"),
    ("the", "a", "her", "his", "its", "any"),
    ("sea", "sun", "mill", "moon", "road", "tree", "well", "wind", "field", "house", "river", "stone"),
)
LINES = 8192
STRIDE = 20_011  # a prime that does not divide the number of sentences, so that the lines are spread over all sentences


@dataclass(frozen=True)
class Text(StoredData):
    """Lines of text as one-hot characters, (vocabulary, length) float32.

    `small_text` is synthetic: 8,192 different sentences of six words, such as "the old fox sees the sea". All other
    names are sets created by `detente data prepare NAME`, memory-mapped.

    Args:
        name: small_text, or a name from `detente data list`, e.g. one_billion_word.
        split: split of a prepared set, e.g. train or test; None: all of them. small_text has only train.
        folder: folder of prepared sets; None: `sets` in $DETENTE_CACHE or ~/.cache/detente.

    Raises:
        InvalidValue: the set or split is unknown; or the set is not prepared, and the message contains the command that
            prepares it.

    Source: Gulrajani et al. (2017), section 5.4 (32 one-hot characters of the One Billion Word benchmark).
    """

    name: str = SMALL_TEXT
    split: str | None = "train"
    folder: str | Path | None = None

    def __post_init__(self) -> None:
        if self.name == SMALL_TEXT:
            if self.split not in (None, "train"):
                raise unknown("split", str(self.split), ["train"])
        else:
            _ = self._prepared.span(self.split)

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "split": self.split, "folder": self.folder}  # copies open the file again

    @cached_property
    def arrays(self) -> tuple[np.ndarray, None]:
        """The indices of the characters, (size, length) uint8."""
        if self.name == SMALL_TEXT:
            return encode(small_text(), self.vocabulary, LENGTH), None
        return self._prepared.samples[self._prepared.span(self.split)], None

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The characters in the order of their indices; 0 is any other character, 1 is padding."""
        return vocabulary_of(small_text()) if self.name == SMALL_TEXT else tuple(self._prepared.about["vocabulary"])

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.vocabulary), self.arrays[0].shape[1]

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        numbers = torch.from_numpy(self.arrays[0][indices.cpu().numpy()]).long()
        return {"real": torch.zeros(len(numbers), *self.shape).scatter_(1, numbers[:, None], 1.0)}

    def encode(self, lines: Iterable[str]) -> Tensor:
        """Return the indices of the characters of lines, (lines, length) int64, cut or padded to the set's length."""
        return torch.from_numpy(encode(list(lines), self.vocabulary, self.arrays[0].shape[1])).long()

    def decode(self, samples: Tensor) -> list[str]:
        """Return samples as lines without their padding.

        Args:
            samples: indices of characters, (n, length), integer; or one-hot characters, scores or probabilities,
                (n, vocabulary, length), floating point; the largest one at each position is decoded.
        """
        if samples.is_floating_point():
            shape = tuple(samples.shape)
            valid = len(shape) == 3 and shape[1] == len(self.vocabulary)
            require(valid, "samples", shape, f"(n, {len(self.vocabulary)}, length)")
            samples = samples.argmax(1)
        return decode(samples.cpu().numpy(), self.vocabulary)

    @cached_property
    def _prepared(self) -> PreparedArrays:
        return open_set(self.name, "text", self.folder)


@cache
def small_text() -> tuple[str, ...]:
    """Return the lines of small_text: always the same, spread over all possible sentences."""
    total, number = math.prod(map(len, WORDS)), 0
    lines: list[str] = []
    while len(lines) < LINES:
        remainder = number
        number = (number + STRIDE) % total
        sentence = []
        for words in WORDS:
            remainder, index = divmod(remainder, len(words))
            sentence.append(words[index])
        line = " ".join(sentence)
        lines += [line] * (len(line) <= LENGTH)
    return tuple(lines)
