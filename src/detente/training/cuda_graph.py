"""A function of tensors on an NVIDIA GPU as a recorded CUDA graph: all of its kernels start with one launch.

Steps of small networks consist of hundreds of kernels that take microseconds each, less than it takes to launch them
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries allocate their workspaces and choose their algorithms


class Recording:
    """A function whose kernels were recorded once and are replayed at every call.

    Calls copy their inputs into the recording's own, and return copies of its outputs, so that the function stays pure.

    Args:
        function: from tensors to a sequence of tensors, the same kernels at every call: it reads no value, draws no
            random numbers and changes none of its inputs.
        example: inputs of the shapes and dtypes of all later calls, on one CUDA device.

    Raises:
        RuntimeError: the function does something that cannot be recorded, such as a copy to the processor.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], example: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in example]
        self._device = example[0].device
        with torch.cuda.device(self._device):
            side, current = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    function(*self._inputs)
            current.wait_stream(side)
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # What other threads do meanwhile is none of the recording's business; the outer context puts the stream
            # back, which `torch.cuda.graph` leaves as it is after an error.
            with torch.cuda.stream(current), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._outputs = list(function(*self._inputs))
        self._groups_in, self._groups_out = _by_dtype(self._inputs), _by_dtype(self._outputs)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return what the function returns for these inputs."""
        _copy(inputs, self._inputs, self._groups_in)
        with torch.cuda.device(self._device):
            self._graph.replay()
        outputs = [torch.empty_like(tensor) for tensor in self._outputs]
        _copy(self._outputs, outputs, self._groups_out)
        return outputs


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[int]]:
    """Return the positions of the tensors of each dtype: those of one dtype are copied by one kernel."""
    groups: dict[torch.dtype, list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault(tensor.dtype, []).append(index)
    return list(groups.values())


def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor], groups: list[list[int]]) -> None:
    together = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
    for group in groups:
        together([targets[i] for i in group], [sources[i] for i in group])
