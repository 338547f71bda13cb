"""How much memory a training has taken at most."""

from __future__ import annotations

import sys

import torch

MIB = 2**20


def peak(device: str) -> float | None:
    """Return the largest memory so far in MiB; None where the system does not tell.

    Args:
        device: what is asked of a graphics processor is what tensors took there; else what this process had resident,
            with all that it did before.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    try:
        import resource  # not on every system
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MIB if sys.platform == "darwin" else most / 1024
