"""Peak memory of a training run."""

from __future__ import annotations

import sys

import torch

MIB = 2**20


def peak(device: str) -> float | None:
    """Return the peak memory so far in MiB; None if the system does not report it.

    Args:
        device: for a GPU, the peak memory of tensors on it; for the CPU, the peak resident memory of this process,
            including everything that ran before.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    try:
        import resource  # not on every system
    except ImportError:
        return None
    peak_size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_size / MIB if sys.platform == "darwin" else peak_size / 1024
