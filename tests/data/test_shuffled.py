"""Tests of `Shuffled`."""

import torch

from detente.data.shuffled import Shuffled


def test_all_samples_come_once_in_another_order_with_their_labels() -> None:
    source = [
        {"x": 10.0 * torch.arange(i, i + 4)[:, None], "label": torch.arange(i, i + 4), "name": "a"}
        for i in range(0, 40, 4)
    ]
    torch.manual_seed(0)
    batches = list(Shuffled(source))
    labels = torch.cat([batch["label"] for batch in batches])
    assert sorted(labels.tolist()) == list(range(40))
    assert labels.tolist() != list(range(40))
    assert torch.equal(torch.cat([batch["x"] for batch in batches])[:, 0], 10.0 * labels)
    assert all(batch["name"] == "a" and len(batch["x"]) == 4 for batch in batches)
    spans = [int(batch["label"].max() - batch["label"].min()) for batch in batches]
    assert min(spans) > 3, "each batch holds samples from several ones"


def test_a_long_pass_is_shuffled_in_parts_and_starts_again() -> None:
    shuffled = Shuffled([torch.arange(i, i + 4) for i in range(0, 40, 4)], pool=8)
    torch.manual_seed(0)
    first = list(shuffled)
    assert [sorted(torch.cat(first[i : i + 2]).tolist()) for i in range(0, 10, 2)] == [
        list(range(i, i + 8)) for i in range(0, 40, 8)
    ]
    assert len(list(shuffled)) == 10
