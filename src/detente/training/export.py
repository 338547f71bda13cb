"""Export trained modules as files that other programs can load without détente's training state."""

from __future__ import annotations

import functools
import json
import pkgutil
import platform
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import detente
from detente.errors import InvalidValue, require, unknown
from detente.game import Game
from detente.state import State
from detente.training.step import draw
from detente.training.stepper import Stepper

Format = Literal["safetensors", "torch_export"]
CONFIG = "config.json"
FORMAT = "detente-export-1"
VALUE = "value"  # name of the tensor of a player that is no module
SUFFIXES = {"safetensors": ".safetensors", "torch_export": ".pt2"}


def export(
    trained: Stepper | nn.Module | Mapping[str, Any],
    to: Path | str,
    format: Format = "safetensors",
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
    **information: Any,
) -> Path:
    """Write trained modules into a folder: one file for each player, and `config.json`.

    `config.json` holds each player's class, its constructor's arguments where they are known, the step, the versions of
    détente, PyTorch and Python, and the git commit of the current folder. `load_exported` reads the folder. Modules are
    exported in evaluation mode, with the averaged parameters of methods that average.

    Arguments are known if the game was built from a class or `functools.partial`, or if they are passed. They are only
    written if the class, called with them, gives a module with the same tensors.

    Args:
        trained: a `Stepper`; or one module, or modules (or tensors) by name.
        to: folder to create.
        format: "safetensors": the state dictionary of each player. "torch_export": a program of `torch.export`
            for each player, which runs without the class; only for a `Stepper`, which knows the modules' inputs.
        arguments: constructor arguments of the players' classes, by player.
        overwrite: replace an earlier export in the folder.
        information: additional entries of `config.json`, fit for JSON, e.g. `run="runs/one"`.

    Returns:
        The folder.

    Raises:
        InvalidValue: the folder contains something else, parameters are not finite, or a module cannot be exported.

    Source: safetensors (github.com/huggingface/safetensors); `torch.export.export`, `torch.export.save`.
    """
    if format not in get_args(Format):
        raise unknown("format", format, get_args(Format))
    modules = _modules(trained)
    allowed, hint = "a Stepper, which knows the inputs of the modules", "Or export as safetensors"
    require(format == "safetensors" or isinstance(trained, Stepper), "format", format, allowed, hint)
    for name, module in modules.items():
        _require_finite(name, module)
    known = {**_arguments(trained), **(arguments or {})}
    players: dict[str, Any] = {}
    for name, module in modules.items():
        players[name] = {"class_path": _class_path(module), "file": f"{name}{SUFFIXES[format]}"}
        if isinstance(module, nn.Module):
            players[name]["arguments"] = _verified(module, known.get(name))
    programs = _programs(trained, modules) if isinstance(trained, Stepper) and format == "torch_export" else {}
    folder = _prepared(Path(to), overwrite)
    for name, module in modules.items():
        path = folder / players[name]["file"]
        if name in programs:
            torch.export.save(programs[name], path)
        else:
            save_file(_tensors(name, module), path)
    content = {
        "format": FORMAT,
        "file_format": format,
        **({"step": int(trained.state.t), "game": _class_path(trained.game)} if isinstance(trained, Stepper) else {}),
        **information,
        "players": players,
        "versions": {
            "detente": detente.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "git": _commit(),
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return folder


def load_exported(folder: Path | str, modules: Mapping[str, nn.Module] | None = None) -> dict[str, Any]:
    """Return the modules (or tensors) of a folder that `export` made, by player, in evaluation mode.

    The classes that `config.json` names are imported and called, so load only exports that you trust.

    Args:
        folder: the folder.
        modules: modules to load the parameters into, for players whose constructor's arguments are not known.

    Raises:
        InvalidValue: the folder is no export, a class cannot be imported or called, or tensors do not fit.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        require(content["format"] == FORMAT, "folder", str(folder), f"an export of format {FORMAT}")
        players, file_format = content["players"], content["file_format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue("folder", str(folder), "a folder written by `detente.export`", str(error)) from error
    for name in modules or {}:
        if name not in players:
            raise unknown("modules", name, players)
    return {
        name: _loaded(folder, file_format, name, entry, (modules or {}).get(name)) for name, entry in players.items()
    }


def _loaded(folder: Path, file_format: str, name: str, entry: Mapping[str, Any], module: nn.Module | None) -> Any:
    """Return one player of an export."""
    path = folder / entry["file"]
    try:
        if file_format == "torch_export" and path.suffix == SUFFIXES["torch_export"]:
            return torch.export.load(path).module()
        tensors = load_file(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InvalidValue("folder", str(path), "a complete export", str(error).partition("\n")[0]) from error
    if "arguments" not in entry:
        return tensors[VALUE]
    if module is None:
        hint = f"Pass the module: load_exported(folder, modules={{{name!r}: …}})"
        known = entry["arguments"] is not None
        require(known, name, entry["class_path"], "a player whose constructor's arguments are known", hint)
        try:
            module = pkgutil.resolve_name(entry["class_path"])(**entry["arguments"])
        except Exception as error:  # a user's own class may raise anything
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}. {hint}"
            raise InvalidValue(name, entry["class_path"], "a class that can be imported and called", reason) from error
    assert isinstance(module, nn.Module)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidValue(name, type(module).__name__, "a module with the exported tensors", reason[:300]) from error
    return module.eval()


def _modules(trained: Stepper | nn.Module | Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be exported by name: modules and tensors."""
    if isinstance(trained, nn.Module):
        return {"module": trained}
    modules: Any = trained.modules() if isinstance(trained, Stepper) else trained
    if isinstance(modules, tuple) and isinstance(trained, Stepper):
        modules = dict(zip(trained.game.players, modules, strict=True))
    if not isinstance(modules, Mapping):
        raise InvalidValue("trained", type(trained).__name__, "a Stepper, a module, or modules by name")
    parts: dict[str, Any] = {}
    for name, value in modules.items():
        several = isinstance(value, tuple)
        parts |= {f"{name}.{index}": part for index, part in enumerate(value)} if several else {name: value}
    for name, value in parts.items():
        require(isinstance(value, nn.Module | Tensor), f"trained.{name}", type(value).__name__, "a module or a tensor")
    return parts


def _tensors(name: str, module: nn.Module | Tensor) -> dict[str, Tensor]:
    """Return the tensors to write, each in memory of its own, as safetensors requires."""
    state = module.state_dict() if isinstance(module, nn.Module) else {VALUE: module}
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    require(not others, name, ", ".join(others), "a module whose state dictionary holds tensors only")
    return {key: tensor.clone().cpu().contiguous() for key, tensor in state.items()}


def _require_finite(name: str, module: nn.Module | Tensor) -> None:
    """Raise `InvalidValue` if a parameter is not finite."""
    tensors = dict(module.named_parameters()) if isinstance(module, nn.Module) else {VALUE: module}
    broken = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    require(not broken, name, ", ".join(broken), "finite parameters", "The run has diverged" if broken else "")


def _prepared(folder: Path, overwrite: bool) -> Path:
    """Return a folder that is empty, or that holds an export to be replaced."""
    content = list(folder.iterdir()) if folder.is_dir() else []
    allowed, hint = "a folder that does not exist yet", "Replace the export in it with overwrite"
    replaceable = not content or (overwrite and (folder / CONFIG).exists())
    require(replaceable and (folder.is_dir() or not folder.exists()), "to", str(folder), allowed, hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValue("to", str(folder), "a folder that can be created", error.strerror or "") from error
    for path in content:
        if path.name == CONFIG or path.suffix in SUFFIXES.values():
            path.unlink()
    return folder


def _class_path(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _arguments(trained: object) -> dict[str, Mapping[str, Any]]:
    """Return the arguments of each player's class in a game that was built from classes or partial functions."""
    known: dict[str, Mapping[str, Any]] = {}
    builders = getattr(trained.game, "builders", {}) if isinstance(trained, Stepper) else {}
    for name, builder in builders.items():
        if isinstance(builder, type):
            known[name] = {}
        elif isinstance(builder, functools.partial) and isinstance(builder.func, type):
            names = _parameter_names(builder.func)
            known[name] = {**dict(zip(names, builder.args, strict=False)), **builder.keywords}
    return known


def _parameter_names(cls: type) -> list[str]:
    code = cls.__init__.__code__
    return list(code.co_varnames[1 : code.co_argcount])


def _verified(module: nn.Module, arguments: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the arguments if the class, imported by its path and called with them, gives the same tensors."""
    if arguments is None:
        return None
    try:
        plain = json.loads(json.dumps(dict(arguments)))
        with torch.random.fork_rng([]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rebuilt = pkgutil.resolve_name(_class_path(module))(**plain)
        shapes = [{key: value.shape for key, value in m.state_dict().items()} for m in (rebuilt, module)]
        return plain if shapes[0] == shapes[1] and repr(rebuilt) == repr(module) else None
    except Exception:  # a class that cannot be imported, or called with what JSON can hold
        return None


def _programs(stepper: Stepper, modules: Mapping[str, Any]) -> dict[str, torch.export.ExportedProgram]:
    """Return each module as a program of `torch.export`, for any batch size if the module allows it."""
    inputs = _example_inputs(stepper.game, stepper)
    programs = {}
    for name, module in modules.items():
        if not isinstance(module, nn.Module):
            continue
        allowed = "modules that the losses call with tensors"
        require(name in inputs, "format", "torch_export", allowed, f"{name} is not called so; export as safetensors")
        examples = tuple(tensor.to(next(module.parameters()).device) for tensor in inputs[name])
        shapes = tuple({0: torch.export.Dim.AUTO} if tensor.dim() else None for tensor in examples)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                programs[name] = torch.export.export(module, examples, dynamic_shapes=shapes)
        except Exception as error:  # torch.export raises various types
            reason = " ".join(str(error).split())[:200]
            raise InvalidValue(
                "format", "torch_export", f"a module that can be exported; {name} cannot", reason
            ) from error
    return programs


@torch.no_grad()
def _example_inputs(game: Game, stepper: Stepper) -> dict[str, tuple[Tensor, ...]]:
    """Return the inputs of the first call of each player's module, recorded while the losses are evaluated once."""
    players = getattr(game, "modules", {})
    owners = {id(module): name for name, module in players.items()}
    for name, (side, part) in getattr(game, "members", {}).items():
        owners[id(players[side].get_submodule(part))] = name
    inputs: dict[str, tuple[Tensor, ...]] = {}

    def record(module: nn.Module, values: tuple) -> None:
        name = owners.get(id(module))
        if name is not None and name not in inputs and all(isinstance(value, Tensor) for value in values):
            inputs[name] = tuple(value.clone() for value in values)

    state: State = stepper.state
    batch = draw(game, stepper.method, state, torch.Generator().manual_seed(0)).batches[0]
    handle = register_module_forward_pre_hook(record)
    try:
        game.losses(state.vectors, state.buffers, game.with_step(batch, state.t))
    finally:
        handle.remove()
    return inputs


def _commit() -> str | None:
    """Return the git commit of the current folder, with "+" if files have changed; None without git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
