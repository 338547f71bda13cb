"""Record a function of CUDA tensors as a CUDA graph, which starts all of its kernels with one launch.

A step of a small network runs hundreds of kernels of a few microseconds each, which is less than the time to launch
them separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # calls before recording, in which libraries allocate workspaces and select algorithms


class Recording:
    """A function whose kernels are recorded once and replayed at every call.

    Each call copies its inputs into the recording and returns copies of the outputs, so the function stays pure.

    Args:
        function: maps tensors to a sequence of tensors. It must run the same kernels at every call: it reads no value,
            draws no random numbers and does not modify its inputs.
        example: inputs with the shapes and dtypes of all later calls, on one CUDA device.

    Raises:
        RuntimeError: the function contains an operation that cannot be recorded, such as a copy to the CPU.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], example: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in example]
        self._device = example[0].device
        with torch.cuda.device(self._device):
            side_stream, current_stream = torch.cuda.Stream(), torch.cuda.current_stream()
            side_stream.wait_stream(current_stream)
            with torch.cuda.stream(side_stream):
                for _ in range(WARM_UP):
                    function(*self._inputs)
            current_stream.wait_stream(side_stream)
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # "thread_local" ignores CUDA calls of other threads. The outer context restores the stream, which
            # `torch.cuda.graph` does not do after an error.
            with torch.cuda.stream(current_stream), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._outputs = list(function(*self._inputs))
        self._groups_in, self._groups_out = _by_dtype(self._inputs), _by_dtype(self._outputs)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs of the function for these inputs."""
        _copy(inputs, self._inputs, self._groups_in)
        with torch.cuda.device(self._device):
            self._graph.replay()
        outputs = [torch.empty_like(tensor) for tensor in self._outputs]
        _copy(self._outputs, outputs, self._groups_out)
        return outputs


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[int]]:
    """Return the indices of the tensors of each dtype; one kernel copies all tensors of one dtype."""
    groups: dict[torch.dtype, list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault(tensor.dtype, []).append(index)
    return list(groups.values())


def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor], groups: list[list[int]]) -> None:
    copy_all = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
    for group in groups:
        copy_all([targets[i] for i in group], [sources[i] for i in group])
