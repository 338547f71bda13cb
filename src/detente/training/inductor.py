"""Compile a graph with inductor, quickly.

On a CPU most of the time until the first compiled step goes to the C++ compiler. So the kernels and the code that
calls them are two files, built side by side; headers are not precompiled, which takes longer than it saves; and the
processor's instructions are tried out while the graph is traced.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from detente.data.cache import cache
from detente.errors import InvalidValue

# On a CPU the C++ wrapper calls the kernels without Python in between.
ON_CPU = {
    "cpp_wrapper": True,
    "cpp_wrapper_build_separate": True,
    "cpp_cache_precompile_headers": False,
    "cpp.vec_isa_ok": True,
}


def _keep_compiled_code() -> None:
    """Keep compiled code in détente's cache folder, unless the user set another: the next run compiles faster.

    Importing inductor sets the variable to a folder under /tmp, which does not count as set by the user.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", default_cache_dir()) != default_cache_dir():
        return
    with contextlib.suppress(OSError, InvalidValue):  # no home directory, or it is not writable
        folder = cache() / "inductor"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def _options(known: Any) -> dict[str, Any]:
    """Return the options of `ON_CPU` that this release of torch knows."""
    return {name: value for name, value in ON_CPU.items() if name in known.get_config_copy()}


def _try_instructions() -> None:
    """Let inductor find out which vector instructions the compiler can use; the answer is kept on disk."""
    from torch._inductor import config, cpu_vec_isa

    with config.patch(_options(config)):
        cpu_vec_isa.pick_vec_isa()


class Compiler:
    """Compiles graphs on the device of `example`; made before tracing, so that what can be prepared is.

    Args:
        example: inputs of the function that is going to be traced.
    """

    def __init__(self, example: Sequence[Tensor]) -> None:
        _keep_compiled_code()
        self.example: list[Any] = [*example]
        self._prepared: Future[None] | None = None
        if example[0].device.type == "cpu":
            thread = ThreadPoolExecutor(1, "detente-compiler")
            self._prepared = thread.submit(_try_instructions)
            thread.shutdown(wait=False)

    def __call__(self, graph: torch.fx.GraphModule) -> Any:
        """Return the compiled graph, a function of its inputs."""
        from torch import _inductor
        from torch._inductor import config

        if self._prepared is None:
            return _inductor.compile(graph, self.example)
        self._prepared.result()
        with config.patch(_options(config)), _side_by_side():
            return _inductor.compile(graph, self.example)


@contextlib.contextmanager
def _side_by_side() -> Iterator[None]:
    """Let inductor build the object files of one library at the same time, instead of one after the other."""
    from torch._inductor import codecache
    from torch.utils._filelock import FileLock

    original = getattr(codecache, "_worker_compile_cpp", None)
    if original is None:
        yield
        return

    def build(lock_path: str, builders: Sequence[Any]) -> None:
        with FileLock(lock_path, timeout=codecache.LOCK_TIMEOUT):
            *objects, library = [b for b in builders if not os.path.exists(b.get_target_file_path())] or [None]
            with ThreadPoolExecutor(max(len(objects), 1)) as threads:
                list(threads.map(lambda builder: builder.build(), objects))
            if library is not None:
                library.build()

    codecache._worker_compile_cpp = build  # noqa: SLF001
    try:
        yield
    finally:
        codecache._worker_compile_cpp = original  # noqa: SLF001
