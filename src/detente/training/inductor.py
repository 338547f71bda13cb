"""Compile a traced graph for a CPU with inductor, quickly, and keep the result for later runs.

Most of the time until the first compiled step goes to Python, which lowers the graph, and to the C++ compiler. So
inductor gets the graph as it is traced, without its own second trace; the kernels and the code that calls them are two
files, built side by side; headers are not precompiled, which takes longer than it saves; and the processor's
instructions are tried out while the graph is traced. A library is kept under a hash of all that it depends on, so a
run that steps through the same graph as an earlier one only loads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detente.data.cache import cache, replace_file
from detente.errors import InvalidValue
from detente.training import one_dnn, repetitions, stored, thin_products

# The C++ wrapper calls the kernels without Python in between.
OPTIONS = {
    "cpp_wrapper": True,
    "cpp_wrapper_build_separate": True,
    "cpp_cache_precompile_headers": False,
    "cpp.vec_isa_ok": True,
}
PASSES = (repetitions, one_dnn, stored, thin_products)  # modules that change a graph
FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # variable with the folder for compiled code
VARIABLES = ("TORCHINDUCTOR_", "INDUCTOR_", "AOT_INDUCTOR", "AOTINDUCTOR", "CXX")  # with settings
_LEFT: set[str] = set()  # settings that compiling sets and leaves at their defaults
ENTRY = "inductor_entry_cpp"  # function of a library that inductor builds


class Compiler:
    """Compiles graphs for a CPU; made before tracing, so that what can be prepared is."""

    def __init__(self) -> None:
        _keep_compiled_code()
        self._prepared: Future[None] | None = None
        records = _records()
        if records is None or not records.is_dir():  # else it may be enough to load, without inductor
            importlib.import_module("torch._inductor.cpu_vec_isa")  # here, because a second thread must not import it
            thread = ThreadPoolExecutor(1, "detente-compiler")
            self._prepared = thread.submit(_try_instructions)
            thread.shutdown(wait=False)

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
        """Return the compiled graph, a function of contiguous inputs; arguments as of `compile_graph`."""
        if self._prepared is not None:
            self._prepared.result()
        return compile_graph(graph, inputs)


class Library:
    """A function of tensors in a shared library that inductor has built.

    Args:
        path: of the library.
    """

    def __init__(self, path: str) -> None:
        # What inductor sets before it loads a library.
        pointer = torch._C._dynamo.guards._torchinductor_pyobject_tensor_data_ptr  # type: ignore[attr-defined]  # noqa: SLF001
        os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(pointer)
        name = f"{Path(path).stem}.{ENTRY}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[name] = module
        self._entry = getattr(sys.modules[name], ENTRY)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs for contiguous inputs."""
        handles = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(inputs)  # type: ignore[attr-defined]  # noqa: SLF001
        return torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(self._entry(handles))  # type: ignore[attr-defined]  # noqa: SLF001


def compile_graph(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return a compiled graph, or what an earlier run compiled.

    Args:
        graph: of `detente.training.graph.trace`: without constants and changes in place.
        inputs: its inputs, as fake tensors.
    """
    record = _record_of(graph, inputs)
    library = _library_of(record)
    if library is not None:
        return library
    before = _changes()
    with warnings.catch_warnings(action="ignore"):  # of torch about itself
        compiled, path = _compile(_lowerable(graph, inputs), inputs)
    _LEFT.update(_changes() - before)
    if path is None:
        return lambda *tensors: compiled([*tensors])
    if record is not None:
        with contextlib.suppress(OSError):
            record.parent.mkdir(parents=True, exist_ok=True)
            replace_file(record, path.encode())
    return Library(path)


def _keep_compiled_code() -> None:
    """Keep compiled code in détente's cache folder, unless the user set another: the next run compiles faster.

    Importing inductor sets the variable to a folder under /tmp, which does not count as set by the user.
    """
    folder = os.environ.get(FOLDER)
    if folder is not None and not folder.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):
        return
    with contextlib.suppress(OSError, InvalidValue):  # no home directory, or it is not writable
        folder = cache() / "inductor"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[FOLDER] = str(folder)


def _record_of(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Path | None:
    """Return the file that names the library of a graph; None without a folder to keep it in.

    Its name is a hash of the graph's operations, the shapes of its inputs, the versions of torch and Python, inductor's
    options, the number of threads, the processor, and the code that changes and compiles the graph.
    """
    records = _records()
    if records is None:
        return None
    content = [
        f"{graph.graph}",
        *[f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in inputs],
        f"{torch.__version__} {sys.version}",
        *_settings(),
        f"{OPTIONS} {torch.get_num_threads()} {one_dnn.pays()} {one_dnn.processor()}",
        *[Path(file).read_text(encoding="utf-8") for file in (__file__, *[str(module.__file__) for module in PASSES])],
    ]
    return records / hashlib.sha256("\n".join(content).encode()).hexdigest()


def _records() -> Path | None:
    """Return the folder with a file for each kept library; None if there is no place for it."""
    folder = os.environ.get(FOLDER)
    return None if folder is None else Path(folder) / "graphs"


def _settings() -> list[str]:
    """Return inductor's settings that the user changed, by variables or in Python."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES) and name != FOLDER}
    return [*map(str, sorted(variables.items())), *sorted(_changes() - _LEFT)]


def _changes() -> set[str]:
    """Return inductor's settings that were set in Python, as assignments."""
    config = sys.modules.get("torch._inductor.config")
    return set() if config is None else set(config.codegen_config().splitlines())


def _library_of(record: Path | None) -> Library | None:
    """Return the library that a file names; None if there is none or it cannot be loaded."""
    if record is None:
        return None
    try:
        return Library(record.read_text(encoding="utf-8"))
    except (OSError, ImportError, UnicodeDecodeError):
        return None


def _lowerable(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> torch.fx.GraphModule:
    """Return the graph in the operations that inductor lowers."""
    from torch._inductor.decomposition import select_decomp_table
    from torch.fx.experimental.proxy_tensor import make_fx

    lowered = make_fx(repetitions.merge_repetitions(graph), select_decomp_table())(*inputs)
    thin_products.expand_thin_products(lowered)
    stored.store_slow_numbers(lowered)
    if one_dnn.pays():
        one_dnn.use_one_dnn(lowered)
    lowered.graph.eliminate_dead_code()
    lowered.recompile()
    return lowered


def _compile(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> tuple[Any, str | None]:
    """Return the compiled graph, and the path of its library, if inductor has built one."""
    from torch._guards import TracingContext, detect_fake_mode, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.utils import BoxedBool

    output = graph.graph.output_node()
    output.meta["user_visible_output_idxs"] = list(range(len(output.args[0])))  # type: ignore[arg-type]
    with config.patch(_options(config)), _side_by_side() as paths, tracing(TracingContext(detect_fake_mode(inputs))):
        compiled = compile_fx_inner(graph, inputs, cpp_wrapper=True, is_inference=True, cudagraphs=BoxedBool(False))
    return compiled, paths[-1] if paths else None


def _options(known: Any) -> dict[str, Any]:
    """Return the options that this release of torch knows."""
    return {name: value for name, value in OPTIONS.items() if name in known.get_config_copy()}


def _try_instructions() -> None:
    """Let inductor find out which vector instructions the compiler can use; the answer is kept on disk."""
    from torch._inductor import config, cpu_vec_isa

    with config.patch(_options(config)):
        cpu_vec_isa.pick_vec_isa()


@contextlib.contextmanager
def _side_by_side() -> Iterator[list[str]]:
    """Let inductor build the object files of a library at the same time, and note the paths of the libraries."""
    from torch._inductor import codecache
    from torch.utils._filelock import FileLock

    paths: list[str] = []
    original = getattr(codecache, "_worker_compile_cpp", None)
    if original is None:
        yield paths
        return

    def build(lock_path: str, builders: Sequence[Any]) -> None:
        with FileLock(lock_path, timeout=codecache.LOCK_TIMEOUT):
            *objects, library = [b for b in builders if not os.path.exists(b.get_target_file_path())] or [None]
            with ThreadPoolExecutor(max(len(objects), 1)) as threads:
                list(threads.map(lambda builder: builder.build(), objects))
            if library is not None:
                library.build()
        paths.append(builders[-1].get_target_file_path())

    codecache._worker_compile_cpp = build  # noqa: SLF001
    try:
        yield paths
    finally:
        codecache._worker_compile_cpp = original  # noqa: SLF001
