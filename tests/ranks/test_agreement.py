"""Agreement between ranks: checksums of their states, and signals."""

from __future__ import annotations

import os
import pickle
import signal

import pytest
import torch
from torch import Tensor

import detente
from detente.errors import InvalidValue
from detente.training.distributed import checksum, is_agreed, joined
from detente.training.pace import Pace
from detente.training.signals import Terminated, note_signals

TENSORS = [
    torch.randn(70_001, generator=torch.Generator().manual_seed(0)),
    torch.randn(701, generator=torch.Generator().manual_seed(0)).double(),
    torch.randn(701, generator=torch.Generator().manual_seed(0)).bfloat16(),
    torch.arange(700).reshape(7, 100),
    torch.arange(256, dtype=torch.uint8),
    torch.tensor([True, False, True]),
    torch.tensor(3.0),
]


def reference(tensor: Tensor) -> int:
    """Return the checksum in Python's integers."""
    size = tensor.element_size()
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    bits = [int.from_bytes(raw[i : i + size], "little", signed=size > 1) for i in range(0, len(raw), size)]
    total = sum(b * (32 + i % 8191) for i, b in enumerate(bits)) % 2**64
    return total - 2**64 if total >= 2**63 else total


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda tensor: str(tensor.dtype))
def test_checksums_equal_the_weighted_sum_of_bits(tensor: Tensor) -> None:
    assert int(checksum(tensor)) == reference(tensor)


def test_checksums_differ_for_one_changed_bit_and_for_swapped_numbers() -> None:
    x = torch.randn(3_000_000, generator=torch.Generator().manual_seed(1))
    y, z = x.clone(), x.clone()
    y[2_345_678] = torch.nextafter(y[2_345_678], torch.tensor(9.0))
    z[17], z[2_000_018] = x[2_000_018], x[17]
    assert len({int(checksum(tensor)) for tensor in (x, y, z)}) == 3


def test_signals_are_recorded_and_raised_on_request() -> None:
    with note_signals() as noted:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert noted.number == signal.SIGTERM  # the first
        with note_signals() as inner:
            assert inner is noted
        with pytest.raises(Terminated), noted.raised():
            raise AssertionError("not reached")
    with note_signals() as noted, pytest.raises(KeyboardInterrupt), noted.raised():
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")


def test_errors_are_sent_between_ranks() -> None:
    error = InvalidValue("batch", (3, 4), "others", "a hint")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, InvalidValue)
    assert str(again) == str(error)
    assert pickle.loads(pickle.dumps(Terminated(signal.SIGTERM))).number == signal.SIGTERM
    assert not is_agreed(error)


def test_one_process_has_no_ranks_and_uses_its_own_clock() -> None:
    assert joined() is None
    assert detente.joined is joined
    assert Pace(None)(1.5, False) == 1.5
    with pytest.raises(InvalidValue, match="timeout"):
        joined(timeout=0)
