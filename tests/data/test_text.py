"""Text: characters as numbers and back, one-hot batches, the small text, prepared text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from detente.data.letters import PADDING, UNKNOWN, encode, vocabulary_of
from detente.data.preparation.preparation import prepare
from detente.data.text import Text, small_text
from detente.errors import InvalidValue


def test_the_small_text_has_thousands_of_different_lines_that_fit() -> None:
    lines = small_text()
    assert len(set(lines)) == len(lines) == 8192 and max(map(len, lines)) <= 32
    assert all(len(line.split(" ")) == 6 and line.isascii() and line.islower() for line in lines)
    starts = Counter(line.split(" ")[0] for line in lines)
    assert min(starts.values()) > 500, "spread over all first words"


def test_batches_are_one_hot_columns_of_the_lines() -> None:
    data = Text()
    batch = data.take(torch.tensor([0, 5, 0]))["real"]
    assert data.shape == batch.shape[1:] == (len(data.vocabulary), 32) and batch.dtype == torch.float32
    assert torch.equal(batch.sum(1), torch.ones(3, 32)) and set(batch.unique().tolist()) == {0.0, 1.0}
    assert data.decode(batch) == [small_text()[number] for number in (0, 5, 0)]


def test_decode_inverts_encode_for_numbers_one_hot_and_probabilities() -> None:
    data = Text()
    lines = ["the old fox sees the sea", "", "a" * 40]
    numbers = data.encode(lines)
    assert numbers.shape == (3, 32)
    expected = [lines[0], "", "a" * 32]
    scores = torch.nn.functional.one_hot(numbers, len(data.vocabulary)).transpose(1, 2).float()
    noise = torch.rand(scores.shape, generator=torch.Generator().manual_seed(0))
    for samples in (numbers, numbers.to(torch.uint8), scores, (3 * scores + noise).softmax(1)):
        assert data.decode(samples) == expected
    assert data.decode(data.encode(["Ö"])) == [UNKNOWN]


def test_vocabularies_are_ordered_by_frequency_and_fit_a_byte() -> None:
    assert vocabulary_of(["abba", "b `"]) == (UNKNOWN, PADDING, "b", "a", " ")
    many = vocabulary_of(["".join(map(chr, range(0x4E00, 0x4E00 + 1000)))])
    assert len(many) == len(set(many)) == 256
    assert np.array_equal(encode(["b?", "abc"], ("x", "`", "b", "a"), 3), [[2, 0, 1], [3, 2, 0]])


@pytest.mark.parametrize(
    "samples", [torch.zeros(2, 5, 32), torch.full((2, 32), 200), torch.full((2, 32), -1), torch.zeros(32).long()]
)
def test_samples_of_another_shape_are_refused(samples: torch.Tensor) -> None:
    with pytest.raises(InvalidValue, match="samples"):
        Text().decode(samples)


def test_prepared_text_is_opened_by_name(tmp_path: Path) -> None:
    lines = [f"line {number} of the news" for number in range(70)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    (tmp_path / "test.txt").write_text("held out")
    assert list(prepare("one_billion_word-24", tmp_path, folder=tmp_path / "sets"))
    data = Text("one_billion_word-24", folder=tmp_path / "sets")
    assert data.size == 70 and data.shape[1] == 24 and isinstance(data.arrays[0], np.memmap)
    assert data.decode(data.take(torch.arange(70))["real"]) == lines
    held_out = Text("one_billion_word-24", "test", tmp_path / "sets")
    assert held_out.decode(held_out.draw(2, torch.Generator())["real"]) == ["held out"] * 2


def test_invalid_arguments_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    for options, message in (
        ({"name": "one_billion_word"}, "detente data prepare one_billion_word"),
        ({"name": "small_words"}, "name"),
        ({"split": "test"}, "split.*train"),
    ):
        with pytest.raises(InvalidValue, match=message):
            Text(**options)
